"""What a training refuses."""


class TrainingError(ValueError):
    """A training that cannot go on as it is; says what was found, where, and what to do."""


class TrainingStopped(Exception):
    """Somebody wished the training to stop; its checkpoint is written."""
