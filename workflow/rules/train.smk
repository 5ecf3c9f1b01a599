# train: prepared rows (and the parent's model, if any) → a model folder, by the recipe's step (train, distill, lora …).
# Settings: `train`, overridden by `experiments.<name>.train`, overridden by `recipes.<name>.train`. Checkpoints are not
# an output of the rule: Snakemake deletes the outputs of a killed job, and the next run must find them to resume.


rule train:
    input:
        data=rules.preprocess.output.data,
        parent=parent_model,
        others=other_models,
    output:
        model=directory(layout.MODEL),
        energy="<results>/energy/train/{experiment}/{recipe}/seed-{seed}.json",
    log:
        "<logs>/train/{experiment}/{recipe}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/train/{experiment}/{recipe}/seed-{seed}.tsv"
    wildcard_constraints:
        recipe=made_by("train"),
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.train.threads
    resources:
        **needs("train"),
    params:
        threads=fixed_threads("train"),
        python=python,
        recipe=recipe,
        settings=training_settings,
        model=scratch_model_option,
        models=model_options,
        checkpoints=layout.CHECKPOINTS.replace(layout.RESULTS, STUDY.results),
        device=STUDY.device,
    message:
        "train {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        metered(
            "train",
            "{params.python:q} -m greenllm train --recipe {params.recipe:q} --settings {params.settings:q}"
            " {params.model} {params.models} --data {input.data:q}"
            " --seed {wildcards.seed} --threads {params.threads} --device {params.device}"
            " --checkpoints {params.checkpoints:q} --out {output.model:q}",
            wildcards=("experiment", "recipe", "seed"),
            threads="{params.threads}",
        )
