"""The application: its models exist once it has been set up, as with Flask's extensions."""

models = None


def set_up() -> None:
    global models
    models = ("accounts", "notes")


def names() -> tuple[str, ...]:
    if models is None:
        raise RuntimeError("the application is not set up yet")
    return models
