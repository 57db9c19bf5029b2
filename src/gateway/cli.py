"""Command line of the gateway."""


def main() -> None:
    """Run the command line."""
