"""Thresholds and rules for persons, from the settings and the model pack."""

from pipeline.models.pack_files import Pack
from store import Context, Users
from store.identity.evidence import EvidenceRules
from store.recognition.thresholds import AutoThreshold, Threshold
from store.settings import PERSON_GALLERY, PersonsSettings
from store.spool.recording import RecordingSettings


def threshold(persons: PersonsSettings, pack: Pack) -> Threshold:
    """Minimum confidence at which two faces belong to one person."""
    chosen = persons.threshold
    if chosen == "auto":
        return AutoThreshold(pack.thresholds, persons.fpir)
    return pack.thresholds.named(chosen) if isinstance(chosen, str) else chosen


def recording_settings(persons: PersonsSettings, pack: Pack) -> RecordingSettings:
    return RecordingSettings(pack.name, pack.facen_size, threshold(persons, pack))


async def evidence_rules(
    ctx: Context, user: Users.Model, persons: PersonsSettings, pack: Pack
) -> EvidenceRules:
    """The rules for comparing the user's persons with each other, all cameras together."""
    enough = await ctx.persons.threshold_for(user, PERSON_GALLERY, threshold(persons, pack))
    strong = max(enough, pack.thresholds.strict)
    number = await ctx.persons.count(user, None)
    pairs = number * (number - 1) // 2  # every person is compared with every other one
    certain = max(strong, pack.thresholds.for_gallery(pairs, persons.fpir))
    return EvidenceRules(enough, strong, persons.band, certain)
