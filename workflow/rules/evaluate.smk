# evaluate: a model and the test split → its quality with an interval, and every prediction. Config: `evaluate`.
# Engine and numerics are those of the deployed model. No other job runs on the host, since speed is reported.


rule evaluate:
    input:
        model=evaluated_model,
        data=rules.preprocess.output.data,
    output:
        quality=layout.EVALUATION,
        predictions=layout.PREDICTIONS,
        energy="<results>/energy/evaluate/{experiment}/{recipe}/seed-{seed}.json",
    log:
        "<logs>/evaluate/{experiment}/{recipe}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/evaluate/{experiment}/{recipe}/seed-{seed}.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.evaluate.threads
    resources:
        **needs("evaluate"),
    params:
        threads=fixed_threads("evaluate"),
        task=task,
        settings=lambda wildcards: settings(PLAN.evaluation(wildcards.experiment)),
        python=python,
        device=device,
        claimed=cgroup_option,
    message:
        "evaluate {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        metered(
            "evaluate",
            "{params.python:q} -m greenllm evaluate --task {params.task} --settings {params.settings:q}"
            " --model {input.model:q} --data {input.data:q}"
            " --seed {wildcards.seed} --threads {params.threads} --device {params.device}"
            " --out {output.quality:q} --predictions {output.predictions:q}",
            wildcards=("experiment", "recipe", "seed"),
            threads="{params.threads}",
            options="--exclusive {params.claimed}",
        )
