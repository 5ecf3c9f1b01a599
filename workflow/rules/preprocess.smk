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
        # Not a param: which rows are evaluated changes nothing here, and is no reason to prepare and train anew.
        evaluated_rows=lambda wildcards: PLAN.evaluation(wildcards.experiment).rows or 0,
    params:
        task=lambda wildcards: PLAN.experiment(wildcards.experiment).task,
        settings=preprocessing,
        model=lambda wildcards, input: f"--model {shlex.quote(input.model)}" if input.model else "",
        chat=chat,
        context=context,
    message:
        "preprocess {wildcards.experiment}"
    shell:
        "meter --rule preprocess --wildcard experiment={wildcards.experiment} --attempt {resources.attempt}"
        " --threads {threads} --gpus {resources.gpu} --input {input:q} --output {output:q} --out {output.energy:q} --"
        " python -m greenllm preprocess --task {params.task} --settings {params.settings:q} --data {input.data:q} {params.model}"
        " {params.chat} {params.context} --evaluated-rows {resources.evaluated_rows} --out {output.data:q} > {log:q} 2>&1"
