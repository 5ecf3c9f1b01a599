# train: prepared rows (and the parent's model, if any) → a model folder, by the recipe's step (train, distill, lora …);
# how it trains: `recipes.<name>.train` upon `experiments.<name>.train` upon `train`. Checkpoints lie
# beside the model, outside the rule's outputs: Snakemake deletes those of a killed job, and the next run shall resume.


rule train:
    input:
        data=rules.preprocess.output.data,
        parent=parent_model,
        others=other_models,
    output:
        model=directory("<results>/models/{experiment}/{recipe}/seed-{seed}/model"),
        energy="<results>/energy/train/{experiment}/{recipe}/seed-{seed}.json",
    log:
        "<logs>/train/{experiment}/{recipe}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/train/{experiment}/{recipe}/seed-{seed}.tsv"
    wildcard_constraints:
        recipe=any_of(PLAN.made_by("train")),
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.train.threads
    resources:
        gpu=gpus("train"),
        mem_mb=STUDY.resources.train.memory_MB,
        runtime=STUDY.resources.train.runtime_min,
        attempt=current_attempt,
    params:
        # Not Snakemake's {threads}, which --cores may lower: other threads would give other weights and answers.
        threads=STUDY.resources.train.threads,
        python=lambda wildcards: PLAN.python(wildcards.recipe),
        recipe=recipe,
        settings=training,
        model=scratch_model,
        models=making,
        checkpoints=f"{STUDY.results}/models/{{experiment}}/{{recipe}}/seed-{{seed}}/checkpoints",
        device=STUDY.device,
    message:
        "train {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        "meter --rule train --wildcard experiment={wildcards.experiment} --wildcard recipe={wildcards.recipe}"
        " --wildcard seed={wildcards.seed} --attempt {resources.attempt}"
        " --threads {params.threads} --gpus {resources.gpu} --input {input:q} --output {output:q} --out {output.energy:q} --"
        " {params.python:q} -m greenllm train --recipe {params.recipe:q} --settings {params.settings:q} {params.model}"
        " {params.models} --data {input.data:q}"
        " --seed {wildcards.seed} --threads {params.threads} --device {params.device}"
        " --checkpoints {params.checkpoints:q} --out {output.model:q} > {log:q} 2>&1"
