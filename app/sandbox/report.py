"""Report of the layers that a decoder gets here, measured by a process that confines itself."""

from multiprocessing.connection import Connection

from app.sandbox import Layer, SandboxConfig, confine, current_layers, forkserver


def available(confinement: SandboxConfig) -> tuple[Layer, ...]:
    """Return every layer, with the reason if it is missing, for decoders of the calling process."""
    context = forkserver()
    ours, theirs = context.Pipe()
    process = context.Process(target=_send_layers, args=(theirs, confinement), daemon=True)
    process.start()
    theirs.close()
    with ours:
        layers: tuple[Layer, ...] = ours.recv()
    process.join()
    return layers


def table(layers: tuple[Layer, ...]) -> str:
    """Return a text table with one line per layer."""
    return "\n".join(f"{layer.name:<9}  {'holds' if layer.holds else 'MISSING':<7}  {layer.note}" for layer in layers)


def _send_layers(connection: Connection, confinement: SandboxConfig) -> None:
    confine(confinement)
    connection.send(current_layers())
