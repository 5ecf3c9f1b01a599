# preprocess: collected data → clean, split and tokenized rows, by `experiments.<name>.preprocess`.
# A model that is already trained brings its tokenizer.


rule preprocess:
    input:
        data=rules.collect.output.data,
        model=source_model,
    output:
        data=directory("<results>/data/{experiment}/prepared"),
        energy="<results>/energy/preprocess/{experiment}.json",
    log:
        "<logs>/preprocess/{experiment}.log",
    benchmark:
        "<benchmarks>/preprocess/{experiment}.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.preprocess.threads
    resources:
        gpu=gpus("preprocess"),
        mem_mb=STUDY.resources.preprocess.memory_MB,
        runtime=STUDY.resources.preprocess.runtime_min,
        attempt=current_attempt,
    params:
        task=lambda wildcards: PLAN.experiment(wildcards.experiment).task,
        settings=preprocessing,
        model=lambda wildcards, input: f"--model {shlex.quote(input.model)}" if input.model else "",
        chat=chat,
    message:
        "preprocess {wildcards.experiment}"
    shell:
        "meter --rule preprocess --wildcard experiment={wildcards.experiment} --attempt {resources.attempt}"
        " --threads {threads} --gpus {resources.gpu} --input {input:q} --output {output:q} --out {output.energy:q} --"
        " python -m greenllm preprocess --task {params.task} --settings {params.settings:q} --data {input.data:q} {params.model}"
        " {params.chat} --out {output.data:q} > {log:q} 2>&1"


# Asked before a training is paid for: whether the model will have room for the test prompts that are evaluated, by
# `model.context` and `evaluate.rows`. A light job, which runs where the workflow was started.
rule check_prompts:
    input:
        data=rules.preprocess.output.data,
        model=source_model,
    output:
        checked="<results>/data/{experiment}/prompts.json",
        energy="<results>/energy/check_prompts/{experiment}.json",
    log:
        "<logs>/check_prompts/{experiment}.log",
    localrule: True
    conda:
        "../../envs/greenllm.yaml"
    threads: 1
    resources:
        gpu=0,
        attempt=current_attempt,
    params:
        rows=evaluated_rows,
        context=context,
    message:
        "check the prompts of {wildcards.experiment}"
    shell:
        "meter --rule check_prompts --wildcard experiment={wildcards.experiment} --attempt {resources.attempt}"
        " --threads {threads} --gpus {resources.gpu} --input {input:q} --output {output:q} --out {output.energy:q} --"
        " python -m greenllm check-prompts --data {input.data:q} {params.rows} {params.context}"
        " --out {output.checked:q} > {log:q} 2>&1"
