"""The batch curve: energy per token, by how many answers are computed at once."""

from gpu_parts.generation import answering
from gpu_parts.network import make_network, parameters
from gpu_parts.records import Journal, Network, Settings
from gpu_parts.rounds import measure

PART = "batches"
BATCHES = (1, 4, 16, 64, 256, 1024)


def run(settings: Settings, journal: Journal) -> None:
    """Measure answers in batches of different sizes."""
    network = make_network(settings).eval()
    journal.write(Network(parameters=parameters(network)))
    batches = (1, 4) if settings.rehearse else BATCHES
    chosen = {f"batch {batch}": answering(settings, network, f"batch {batch}", batch) for batch in batches}
    measure(settings, journal, PART, chosen)
