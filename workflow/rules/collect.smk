# collect: a data set with its card, from where `experiments.<name>.data` says; a model that is already trained, from
# `experiments.<name>.model`. Both run where the workflow was started, never through a cluster's scheduler: they alone
# touch a network, which compute nodes often lack. The hub's HF_TOKEN and HF_HOME are those of the caller's environment.


rule collect:
    output:
        data=directory("<results>/data/{experiment}/collected"),
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
        gpu=gpus("collect"),
        mem_mb=STUDY.resources.collect.memory_MB,
        runtime=STUDY.resources.collect.runtime_min,
        attempt=current_attempt,
    params:
        task=lambda wildcards: PLAN.experiment(wildcards.experiment).task,
        settings=lambda wildcards: settings(PLAN.experiment(wildcards.experiment).data),
        base=lambda wildcards: STUDY.data_folder if PLAN.experiment(wildcards.experiment).data.files else ".",
    message:
        "collect {wildcards.experiment}"
    shell:
        "meter --rule collect --wildcard experiment={wildcards.experiment} --attempt {resources.attempt}"
        " --threads {threads} --gpus {resources.gpu} --input --output {output:q} --out {output.energy:q} --"
        " python -m greenllm collect --task {params.task} --settings {params.settings:q} --base {params.base:q}"
        " --out {output.data:q} > {log:q} 2>&1"


rule collect_model:
    output:
        model=directory("<results>/models/{experiment}/source"),
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
        gpu=gpus("collect"),
        mem_mb=STUDY.resources.collect.memory_MB,
        runtime=STUDY.resources.collect.runtime_min,
        attempt=current_attempt,
    params:
        settings=lambda wildcards: settings(
            PLAN.experiment(wildcards.experiment).model, include=PLAN.source_keys(wildcards.experiment)
        ),
    message:
        "collect the model of {wildcards.experiment}"
    shell:
        "meter --rule collect_model --wildcard experiment={wildcards.experiment} --attempt {resources.attempt}"
        " --threads {threads} --gpus {resources.gpu} --input --output {output:q} --out {output.energy:q} --"
        " python -m greenllm collect-model --settings {params.settings:q} --out {output.model:q} > {log:q} 2>&1"
