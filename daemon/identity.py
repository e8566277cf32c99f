"""What the settings and the model pack say about persons, as the store wants to know it."""

from pipeline.models import Pack
from store.person_evidence import EvidenceRules
from store.recognition import RecognitionRules
from store.recording import RecordingSettings
from store.references import ReferenceRules
from store.settings import PersonsSettings


def threshold(persons: PersonsSettings, pack: Pack) -> float:
    """The confidence from which two faces are one person's."""
    chosen = persons.threshold
    return pack.thresholds.named(chosen) if isinstance(chosen, str) else chosen


def recording_settings(persons: PersonsSettings, pack: Pack) -> RecordingSettings:
    return RecordingSettings(
        pack=pack.name,
        facen_size=pack.facen_size,
        recognition=RecognitionRules(threshold(persons, pack), persons.band),
        references=reference_rules(persons),
    )


def reference_rules(persons: PersonsSettings) -> ReferenceRules:
    return ReferenceRules(persons.references, persons.new_min_score, persons.new_min_shots)


def evidence_rules(persons: PersonsSettings, pack: Pack) -> EvidenceRules:
    enough = threshold(persons, pack)
    return EvidenceRules(enough, max(enough, pack.thresholds.strict), persons.band)
