# deploy: an evaluated model → a folder that serves it by itself, and what a request to it costs under load, by
# `deploy`. Server and load generator are metered apart; the host is theirs alone, since their speed is the result.


rule deploy:
    input:
        model=evaluated_model,
        quality=rules.evaluate.output.quality,
        predictions=rules.evaluate.output.predictions,
        data=rules.preprocess.output.data,
    output:
        bundle=directory("<results>/deployments/{experiment}/{recipe}/seed-{seed}/bundle"),
        measurement="<results>/deployments/{experiment}/{recipe}/seed-{seed}/measurement.json",
        energy="<results>/energy/deploy/{experiment}/{recipe}/seed-{seed}.json",
        energy_serve="<results>/energy/serve/{experiment}/{recipe}/seed-{seed}.json",
        energy_load="<results>/energy/load/{experiment}/{recipe}/seed-{seed}.json",
    log:
        "<logs>/deploy/{experiment}/{recipe}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/deploy/{experiment}/{recipe}/seed-{seed}.tsv"
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.deploy.threads
    resources:
        gpu=gpus("deploy"),
        mem_mb=STUDY.resources.deploy.memory_MB,
        runtime=STUDY.resources.deploy.runtime_min,
        attempt=current_attempt,
    params:
        # Not Snakemake's {threads}, which --cores may lower: other threads would give other weights and answers.
        threads=STUDY.resources.deploy.threads,
        task=lambda wildcards: PLAN.experiment(wildcards.experiment).task,
        settings=lambda wildcards: settings(PLAN.deployment(wildcards.experiment)),
        evaluation=lambda wildcards: settings(
            PLAN.evaluation(wildcards.experiment), include={"max_tokens", "threshold"}
        ),
        python=lambda wildcards: PLAN.python(wildcards.recipe),
        device=lambda wildcards: PLAN.device(wildcards.recipe),
        claimed=claimed,
    message:
        "deploy {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        "meter --rule deploy --wildcard experiment={wildcards.experiment} --wildcard recipe={wildcards.recipe}"
        " --wildcard seed={wildcards.seed} --attempt {resources.attempt}"
        " --threads {params.threads} --gpus {resources.gpu} --exclusive {params.claimed} --input {input:q} --output {output:q} --out {output.energy:q} --"
        " {params.python:q} -m greenllm deploy --task {params.task} --settings {params.settings:q}"
        " --evaluation-settings {params.evaluation:q} --model {input.model:q} --predictions {input.predictions:q}"
        " --evaluation {input.quality:q} --data {input.data:q} --threads {params.threads} --device {params.device}"
        " --wildcard experiment={wildcards.experiment} --wildcard recipe={wildcards.recipe}"
        " --wildcard seed={wildcards.seed} --energy-serve {output.energy_serve:q} --energy-load {output.energy_load:q}"
        " --bundle {output.bundle:q} --out {output.measurement:q} > {log:q} 2>&1"
