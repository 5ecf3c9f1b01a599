# compress: a trained model → a smaller or faster one, by `recipes.<name>.quantize`.


rule compress:
    input:
        parent=parent_model,
    output:
        model=directory("<results>/models/{experiment}/{recipe}/seed-{seed}/model"),
        energy="<results>/energy/compress/{experiment}/{recipe}/seed-{seed}.json",
    log:
        "<logs>/compress/{experiment}/{recipe}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/compress/{experiment}/{recipe}/seed-{seed}.tsv"
    wildcard_constraints:
        recipe=any_of(PLAN.compressed()),
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
        settings=lambda wildcards: settings(PLAN.recipe(wildcards.recipe)),
    message:
        "compress {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        "meter --rule compress --wildcard experiment={wildcards.experiment} --wildcard recipe={wildcards.recipe}"
        " --wildcard seed={wildcards.seed} --attempt {resources.attempt}"
        " --threads {params.threads} --gpus {resources.gpu} --input {input} --output {output} --out {output.energy} --"
        " python -m greenllm compress --settings {params.settings:q} --from {input.parent} --threads {params.threads}"
        " --out {output.model} > {log} 2>&1"
