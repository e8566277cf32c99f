"""The store's rules about persons, from settings and model pack."""

from pipeline.models.files import Pack
from store.identity.evidence import EvidenceRules
from store.settings import PersonsSettings
from store.spool.recording import RecordingSettings


def threshold(persons: PersonsSettings, pack: Pack) -> float:
    """Minimum confidence at which two faces belong to one person."""
    chosen = persons.threshold
    return pack.thresholds.named(chosen) if isinstance(chosen, str) else chosen


def recording_settings(persons: PersonsSettings, pack: Pack) -> RecordingSettings:
    return RecordingSettings(pack.name, pack.facen_size, threshold(persons, pack))


def evidence_rules(persons: PersonsSettings, pack: Pack) -> EvidenceRules:
    enough = threshold(persons, pack)
    return EvidenceRules(enough, max(enough, pack.thresholds.strict), persons.band)
