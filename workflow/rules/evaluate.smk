# evaluate: a model and the test split → quality with its interval and every prediction, by `evaluate`.
# The engine and the numerics are those that will be deployed. It has the host to itself, since its speed is reported.


rule evaluate:
    input:
        model=evaluated_model,
        data=rules.preprocess.output.data,
    output:
        quality="<results>/evaluations/{experiment}/{recipe}/seed-{seed}.json",
        predictions="<results>/evaluations/{experiment}/{recipe}/seed-{seed}.predictions.jsonl",
        energy="<results>/energy/evaluate/{experiment}/{recipe}/seed-{seed}.json",
    log:
        "<logs>/evaluate/{experiment}/{recipe}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/evaluate/{experiment}/{recipe}/seed-{seed}.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.evaluate.threads
    resources:
        gpu=gpus("evaluate"),
        mem_mb=STUDY.resources.evaluate.memory_MB,
        runtime=STUDY.resources.evaluate.runtime_min,
        attempt=current_attempt,
    params:
        # Not Snakemake's {threads}, which --cores may lower: other threads would give other weights and answers.
        threads=STUDY.resources.evaluate.threads,
        task=lambda wildcards: PLAN.experiment(wildcards.experiment).task,
        settings=lambda wildcards: settings(PLAN.evaluation(wildcards.experiment)),
        python=lambda wildcards: PLAN.python(wildcards.recipe),
        device=lambda wildcards: PLAN.device(wildcards.recipe),
        claimed=claimed,
    message:
        "evaluate {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        "meter --rule evaluate --wildcard experiment={wildcards.experiment} --wildcard recipe={wildcards.recipe}"
        " --wildcard seed={wildcards.seed} --attempt {resources.attempt}"
        " --threads {params.threads} --gpus {resources.gpu} --exclusive {params.claimed} --input {input:q} --output {output:q} --out {output.energy:q} --"
        " {params.python:q} -m greenllm evaluate --task {params.task} --settings {params.settings:q} --model {input.model:q} --data {input.data:q}"
        " --seed {wildcards.seed} --threads {params.threads} --device {params.device}"
        " --out {output.quality:q} --predictions {output.predictions:q} > {log:q} 2>&1"
