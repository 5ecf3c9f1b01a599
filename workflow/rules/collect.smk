# collect: a data set with its card, from `experiments.<name>.data`; a trained model, from `experiments.<name>.model`.
# Both run on the host that started the workflow, not through a cluster's scheduler: only they need a network, and
# compute nodes often have none. HF_TOKEN and HF_HOME come from the caller's environment.
# No command has the params `files`: they make Snakemake collect a file of the user's again after a change. Inputs would
# do so after a mere copy, which is newer, and not where an older file takes its place.


rule collect:
    output:
        data=directory(layout.COLLECTED),
        energy="<results>/energy/collect/{experiment}.json",
    log:
        "<logs>/collect/{experiment}.log",
    benchmark:
        "<benchmarks>/collect/{experiment}.tsv"
    localrule: True
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.collect.threads
    resources:
        **needs("collect"),
    params:
        task=task,
        settings=lambda wildcards: settings(PLAN.experiment(wildcards.experiment).data),
        base=lambda wildcards: STUDY.data_folder if PLAN.experiment(wildcards.experiment).data.files else ".",
        files=data_files,
    message:
        "collect {wildcards.experiment}"
    shell:
        metered(
            "collect",
            "python -m greenllm collect --task {params.task} --settings {params.settings:q} --base {params.base:q}"
            " --out {output.data:q}",
            wildcards=("experiment",),
            inputs="",
        )


rule collect_model:
    output:
        model=directory(layout.SOURCE_MODEL),
        energy="<results>/energy/collect_model/{experiment}.json",
    log:
        "<logs>/collect_model/{experiment}.log",
    benchmark:
        "<benchmarks>/collect_model/{experiment}.tsv"
    localrule: True
    conda:
        "../../envs/greenllm.yaml"
    threads: STUDY.resources.collect.threads
    resources:
        **needs("collect"),
    params:
        settings=lambda wildcards: settings(
            PLAN.experiment(wildcards.experiment).model, include=PLAN.source_keys(wildcards.experiment)
        ),
        engines=engine_options,
        files=model_files,
    message:
        "collect the model of {wildcards.experiment}"
    shell:
        metered(
            "collect_model",
            "python -m greenllm collect-model --settings {params.settings:q} {params.engines} --out {output.model:q}",
            wildcards=("experiment",),
            inputs="",
        )
