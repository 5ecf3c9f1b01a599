# compress: a trained model → a smaller or faster one, by the recipe's step (prune, quantize …). A step that trains
# again takes the settings of `experiments.<name>.train`, overridden by `recipes.<name>.recover`.


rule compress:
    input:
        parent=parent_model,
        others=other_models,
        data=rules.preprocess.output.data,
    output:
        model=directory(layout.MODEL),
        energy="<results>/energy/compress/{experiment}/{recipe}/seed-{seed}.json",
    log:
        "<logs>/compress/{experiment}/{recipe}/seed-{seed}.log",
    benchmark:
        "<benchmarks>/compress/{experiment}/{recipe}/seed-{seed}.tsv"
    wildcard_constraints:
        recipe=made_by("compress"),
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.compress.threads
    resources:
        **needs("compress"),
    params:
        threads=fixed_threads("compress"),
        python=python,
        recipe=recipe,
        settings=training_settings,
        models=model_options,
        checkpoints=layout.CHECKPOINTS.replace(layout.RESULTS, STUDY.results),
        device=device,
    message:
        "compress {wildcards.experiment}/{wildcards.recipe} seed {wildcards.seed}"
    shell:
        metered(
            "compress",
            "{params.python:q} -m greenllm compress --recipe {params.recipe:q} --settings {params.settings:q}"
            " {params.models} --data {input.data:q}"
            " --seed {wildcards.seed} --threads {params.threads} --device {params.device}"
            " --checkpoints {params.checkpoints:q} --out {output.model:q}",
            wildcards=("experiment", "recipe", "seed"),
            threads="{params.threads}",
        )
