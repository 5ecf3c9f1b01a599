# deploy: an evaluated model → a self-contained folder that serves it, with its model card and its scripted replies.


rule deploy:
    input:
        model=evaluated_model,
        quality=rules.evaluate.output.quality,
        data=rules.preprocess.output.data,
    output:
        bundle=directory(layout.BUNDLE),
        energy="<results>/energy/deploy/{experiment}/{recipe}/seed-{seed}.json",
    log:
        "<logs>/deploy/{experiment}/{recipe}/seed-{seed}.log",
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.deploy.threads
    resources:
        **needs("deploy"),
    params:
        task=task,
        evaluation=lambda wildcards: settings(PLAN.evaluation(wildcards.experiment), include={"threshold"}),
    message:
        "deploy {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        metered(
            "deploy",
            "python -m greenllm deploy --task {params.task} --evaluation-settings {params.evaluation:q}"
            " --model {input.model:q} --evaluation {input.quality:q} --data {input.data:q} "
            + wildcard_options("experiment", "recipe", "seed")
            + " --out {output.bundle:q}",
            wildcards=("experiment", "recipe", "seed"),
        )
