"""Properties, times and sizes as one line of text without colour."""

from ...errors import ClipstackError, ConnectFailed, ServiceUnavailable, TimedOut
from ...jobs import Job
from ...models import Media, Model, Result, Sent


def plain(text: str) -> str:
    """Return the text without characters that could control a terminal: names and answers are untrusted."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def media_facts(media: Media) -> str:
    """Return size, codec, frame rate, length and bytes of the upload."""
    facts = [f"{media.width}×{media.height}", f"{media.codec} in {media.container}"]
    if media.kind == "image":
        facts[1] = media.codec
    if media.fps:
        facts.append(f"{media.fps:.4g} fps")
    if media.duration_s is not None and media.kind != "image":
        facts.append(f"{media.duration_s:.1f} s")
    facts.append(human_bytes(media.bytes))
    if media.rotation:
        facts.append(f"turned {media.rotation}°")
    if media.mirrored:
        facts.append("mirrored")
    return plain(" · ".join(facts))


def frames_seen(result: Result) -> str:
    """Return the model and the frames it saw."""
    if result.media.kind == "image" or not result.clips:
        return plain(result.model)
    frames = sum(len(clip.frames) for clip in result.clips)
    clips = f" in {len(result.clips)} clips" if len(result.clips) > 1 else ""
    first, last = result.clips[0].start_s, result.clips[-1].end_s
    return plain(f"{result.model}, {frames} frames{clips} from {first:.2f} to {last:.2f} s")


def model_input(model: Model) -> str:
    """Return `8 frames over 0.93 s, 80×80`, or only the size for pictures."""
    size = f"{model.crop}×{model.crop}"
    if model.kind == "image" or not model.stride or not model.fps:
        return size
    return f"{model.frames} frames over {(model.frames - 1) * model.stride / model.fps:.2f} s, {size}"


def timings(result: Result) -> str:
    """Return the total in milliseconds, and the timings of 0.1 ms or more in their order."""
    total = result.timing_ms.get("total", 0.0)
    rest = ((stage, ms) for stage, ms in result.timing_ms.items() if stage != "total" and ms >= 0.1)
    listed = ", ".join(f"{stage} {milliseconds(ms)}" for stage, ms in rest)
    cached = " · cached" if result.cache == "hit" else ""
    return plain(f"{milliseconds(total)} ms: {listed}{cached}" if listed else f"{milliseconds(total)} ms{cached}")


def sent_instead(sent: Sent) -> str:
    """Return what was sent: `sent just the frames: 22 kB instead of 636 kB, made in 0.10 s`."""
    how = "just the frames" if sent.reduction == "frames" else "a smaller copy"
    sizes = f"{human_bytes(sent.bytes)} instead of {human_bytes(sent.whole_bytes)}"
    return f"sent {how}: {sizes}, made in {sent.prepare_s:.2f} s"


def clock(seconds: float, *, tenths: bool = True) -> str:
    """Return a time in a video: `1:02.5`, with hours if there are any."""
    tenth = round(seconds * 10)
    minutes, rest = divmod(tenth // 10, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{text}.{tenth % 10}" if tenths else text


def duration(seconds: float) -> str:
    """Return a duration: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    total = max(0, round(seconds))
    minutes, rest = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def job_progress(job: Job) -> str:
    """Return the progress of a job for the end of a line."""
    progress = job.progress
    if job.state == "queued":
        return "queued" if progress.position is None else f"queued, number {progress.position} in line"
    if job.ended:
        return job.state
    if progress.eta_s is not None:
        return f"analysing, {duration(progress.eta_s)} left"
    return "analysing"


def windows(job: Job) -> str:
    """Return the model, its windows and the number of cuts."""
    timeline = job.timeline
    if timeline is None:
        return plain(job.model)
    count = f"{job.progress.windows_done} windows" if job.progress.windows_done else "windows"
    cuts = f" · {plural(len(timeline.cuts_s), 'cut')}" if timeline.cuts_s else ""
    return plain(f"{job.model}, {count} of {timeline.window_s:.2f} s, one every {timeline.hop_s:g} s{cuts}")


def seconds_spent(job: Job) -> str:
    """Return the duration of a job, by stage."""
    rest = ", ".join(f"{stage} {s:.1f}" for stage, s in job.timing_s.items() if stage not in ("queued", "running"))
    waited = f", after {job.timing_s['queued']:.1f} s in the queue" if job.timing_s.get("queued", 0) >= 0.1 else ""
    cached = " · cached" if job.cache == "hit" else ""
    return plain(f"{job.timing_s.get('running', 0.0):.1f} s{': ' if rest else ''}{rest}{waited}{cached}")


def plural(number: int, what: str) -> str:
    """Return `1 file` or `2 files`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def short_name(name: str, width: int) -> str:
    """Return the last `width` characters of the name: its end says more than its folder."""
    return name if len(name) <= width else "…" + name[len(name) - width + 1 :]


def milliseconds(value: float) -> str:
    """Return a number with two figures, which are enough to compare timings."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def percent(score: float) -> str:
    """Return a score of 0 to 1 in percent, never rounded to 100% or to zero."""
    if 0.9995 <= score < 1:
        return ">99.9%"
    return "<0.1%" if 0 < score < 0.0005 else f"{score:.1%}"


def human_bytes(number: int) -> str:
    """Return a size in the largest decimal unit that leaves a number above one: `636 kB`."""
    value = float(number)
    for unit in ("bytes", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def advice(error: ClipstackError | OSError) -> str | None:
    """Return what to do about an error, or None."""
    if isinstance(error, ConnectFailed):
        return "Is it running? `make up` starts it; --url or CLIPSTACK_URL says where it is."
    if isinstance(error, TimedOut):
        return "A larger --timeout waits longer."
    if isinstance(error, ServiceUnavailable):
        return "It may be starting or busy: try again in a moment."
    return None
