"""What ``longwang train-head`` does: read what is asked, teach the head, say what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from longwang_ray.posterior.fidelity import STATED
from longwang_ray.prior.bundle import open_prior
from longwang_ray.training.fit_head import folder_beside, train_head
from longwang_ray.training.head_settings import load_head_training


def teach(
    where: str, arguments: Sequence[str], out: str | None = None, *, again: bool = False
) -> list[tuple[str, str]]:
    """Teach a prior a head.

    Args:
        where: An embedded prior, a folder or a URL.
        arguments: A YAML file or none, then ``dotted.path=value`` each.
        out: Where the new bundle goes; beside the old one if that is a local folder.
        again: Though it has a head already.

    Returns:
        What came of it, to be printed: names and what belongs to them.

    Raises:
        ConfigError, PriorError, TrainingError: As they say.
    """
    given = list(arguments)
    file = given.pop(0) if given and "=" not in given[0] else None
    config, prior = load_head_training(file, given), open_prior(where)
    made = open_prior(train_head(prior, config, out or folder_beside(where), again=again))
    stated = made.card[STATED]
    errors = (f"{step}°: {one['error']:.1%}" for step, one in stated["cells"].items())
    return [
        ("prior", f"{out or folder_beside(where)}, {made.name}, digest {made.digest[:16]}"),
        ("taught by", made.card["distilled_from"][:16]),
        (
            "head",
            f"means of {stated['days']} days differ from the decoder's, on GCM cells of "
            + ", ".join(errors),
        ),
    ]
