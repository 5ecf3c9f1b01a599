import json, shutil
from pathlib import Path
from deploying import answers_of, make_bundle, measure, rows_of, write_predictions


def test_it(int8, fp32, tmp_path):
    for name, model in (("baseline", fp32), ("int8", int8)):
        make_bundle(model, name, tmp_path)
        write_predictions(tmp_path / f"{name}.jsonl", rows_of(answers_of(model)))
    done = measure(
        tmp_path,
        ["baseline", "int8"],
        environment={"GREENLLM_METER_INTERVAL_S": "1"},
        twin=True,
        rounds=8,
        requests=80,
        round_s=0.5,
    )
    print(done.stderr[-3000:])
    assert done.returncode == 0
    shutil.copytree(tmp_path, "/tmp/work/zz", dirs_exist_ok=True)
