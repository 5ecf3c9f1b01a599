# deploy: an evaluated model → a folder that serves it by itself, and the energy of a request to it under load. Config:
# `deploy`. Server and load generator are metered apart. No other job runs on the host, since speed is a result.


rule deploy:
    input:
        model=evaluated_model,
        quality=rules.evaluate.output.quality,
        predictions=rules.evaluate.output.predictions,
        data=rules.preprocess.output.data,
    output:
        bundle=directory(layout.BUNDLE),
        measurement=layout.MEASUREMENT,
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
        **needs("deploy"),
    params:
        threads=fixed_threads("deploy"),
        task=task,
        settings=lambda wildcards: settings(PLAN.deployment(wildcards.experiment)),
        evaluation=lambda wildcards: settings(
            PLAN.evaluation(wildcards.experiment), include={"max_tokens", "threshold"}
        ),
        python=python,
        device=device,
        claimed=cgroup_option,
    message:
        "deploy {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        metered(
            "deploy",
            "{params.python:q} -m greenllm deploy --task {params.task} --settings {params.settings:q}"
            " --evaluation-settings {params.evaluation:q} --model {input.model:q} --predictions {input.predictions:q}"
            " --evaluation {input.quality:q} --data {input.data:q} --threads {params.threads} --device {params.device} "
            + wildcard_options("experiment", "recipe", "seed")
            + " --energy-serve {output.energy_serve:q} --energy-load {output.energy_load:q}"
            " --bundle {output.bundle:q} --out {output.measurement:q}",
            wildcards=("experiment", "recipe", "seed"),
            threads="{params.threads}",
            options="--exclusive {params.claimed}",
        )
