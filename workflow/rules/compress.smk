# compress: a trained model → a smaller or faster one, by the recipe's step (prune, quantize …); where it trains again,
# `recipes.<name>.recover` upon the experiment's settings says how.


rule compress:
    input:
        parent=parent_model,
        others=other_models,
        data=rules.preprocess.output.data,
    output:
        model=directory("<results>/models/{experiment}/{recipe}/seed-{seed}/model"),
        energy="<results>/energy/compress/{experiment}/{recipe}/seed-{seed}.json",
    log:
        "<logs>/compress/{experiment}/{recipe}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/compress/{experiment}/{recipe}/seed-{seed}.tsv"
    wildcard_constraints:
        recipe=any_of(PLAN.made_by("compress")),
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.compress.threads
    resources:
        gpu=gpus("compress"),
        mem_mb=STUDY.resources.compress.memory_MB,
        runtime=STUDY.resources.compress.runtime_min,
        attempt=current_attempt,
    params:
        # Not Snakemake's {threads}, which --cores may lower: other threads would give other weights and answers.
        threads=STUDY.resources.compress.threads,
        python=lambda wildcards: PLAN.python(wildcards.recipe),
        recipe=recipe,
        settings=training,
        models=making,
        checkpoints=f"{STUDY.results}/models/{{experiment}}/{{recipe}}/seed-{{seed}}/checkpoints",
        device=lambda wildcards: PLAN.device(wildcards.recipe),
    message:
        "compress {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        "meter --rule compress --wildcard experiment={wildcards.experiment} --wildcard recipe={wildcards.recipe}"
        " --wildcard seed={wildcards.seed} --attempt {resources.attempt}"
        " --threads {params.threads} --gpus {resources.gpu} --input {input:q} --output {output:q} --out {output.energy:q} --"
        " {params.python:q} -m greenllm compress --recipe {params.recipe:q} --settings {params.settings:q}"
        " {params.models} --data {input.data:q} --seed {wildcards.seed} --threads {params.threads} --device {params.device}"
        " --checkpoints {params.checkpoints:q} --out {output.model:q} > {log:q} 2>&1"
