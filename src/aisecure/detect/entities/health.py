"""Identifiers of patients, plans, prescribers and devices; 45 CFR 164.514(b)(2)(i) (H), (I), (K), (M)."""

from __future__ import annotations

from aisecure.detect.checksums import luhn
from aisecure.detect.entity import Entity

__all__ = ["HEALTH"]


def _is_npi(digits: str) -> bool:
    """Luhn over 80840 and the ten digits (45 CFR 162.406)."""
    return digits[0] in "12" and luhn("80840" + digits)


def _is_dea(text: str) -> bool:
    """Registrant's letter, initial or 9, and a weighted sum (21 CFR 1301)."""
    numbers = list(map(int, text[2:]))
    total = numbers[0] + numbers[2] + numbers[4] + 2 * (numbers[1] + numbers[3] + numbers[5])
    return text[0] in "ABCDEFGHJKLMPRSTUX" and total % 10 == numbers[6]


_NO_MBI_LETTER = frozenset("SLOIBZ")


def _is_mbi(text: str) -> bool:
    return text[0] != "0" and _NO_MBI_LETTER.isdisjoint(text)


_RECORD = r"(?:[A-Z]{1,4}[-#]?)?(?:\d{4,12}|\d{2,4}(?:[-. ]\d{2,4}){1,3})[A-Z]{0,2}"
_PLAN = r"[A-Z]{0,4}[- ]?\d[A-Z0-9]{4,14}(?:-\d{1,3})?|\d{3}-\d{2}-\d{4}[A-Z]?"

HEALTH = (
    Entity(
        "pii.us_npi", ("9999999999",), _is_npi, ("npi", "national provider", "provider identifier", "provider id", "provider number"),
        bare=0.45, said=0.95, alone=0.6, countries=("US",),
    ),
    Entity(
        "pii.medical_license", ("AA9999999",), _is_dea,
        ("dea", "dea number", "dea registration", "certificate number", "prescriber", "medical license", "medical licence"),
        bare=0.55, said=0.95, alone=0.7, countries=("US",),
    ),
    Entity(
        "pii.us_mbi", ("9AX9AX9AA99", "9AX9-AX9-AA99"), _is_mbi,
        ("mbi", "medicare", "medicare beneficiary", "beneficiary identifier", "medicare number", "medicare id"),
        bare=0.75, said=0.95, alone=0.8, countries=("US",),
    ),
    Entity(
        "pii.medical_record_number",
        labels=(
            "mrn", "medical record", "medical record no", "medical record number", "med rec", "med rec no", "medical records number", "record number",
            "chart", "chart no", "chart number", "patient id", "patient no", "patient number", "patient identifier", "hospital no",
            "hospital number", "hospital id", "unit number", "emr", "ehr", "medical file", "patientennummer", "patienten nr", "fallnummer",
            "historia clínica", "número de paciente", "ipp", "numéro de patient", "cartella clinica", "prontuário", "patiëntnummer",
            "accession", "accession no", "accession number", "encounter", "encounter no", "encounter number", "specimen", "visit number",
        ),
        loose=_RECORD, said=0.85,
    ),
    Entity(
        "pii.health_plan_id",
        labels=(
            "member id", "member no", "member number", "subscriber id", "subscriber no", "subscriber number", "beneficiary id",
            "policy no", "policy number", "insurance id", "insurance no", "insurance number", "insurance policy", "insurance code",
            "health plan", "plan id", "group no", "group number", "medicaid", "medicaid id", "medicaid number", "policyholder id", "health insurance",
            "versichertennummer", "krankenversicherungsnummer", "número de póliza", "numéro d assuré", "numero polizza",
        ),
        loose=_PLAN, said=0.85,
    ),
    Entity(
        "pii.device_id",
        labels=(
            "serial", "serial no", "serial number", "device id", "device no", "device serial", "device identifier", "udi", "sn", "implant",
            "seriennummer", "número de serie", "numéro de série", "numero di serie", "imei", "imsi", "iccid", "meid",
        ),
        loose=r"(?:[A-Z]{1,4}[-#]?)?\d[A-Z0-9]{4,18}(?:-[A-Z0-9]{1,8}){0,3}|[A-Z]\d[A-Z0-9]{3,15}", said=0.8,
    ),
    Entity("pii.device_id", ("9999999999999999",), lambda digits: digits.startswith("01") and luhn(digits[2:]), bare=0.1, said=0.85, alone=0.2),
    Entity(
        "pii.us_prior_authorization_number",
        labels=("prior authorization", "prior authorization number", "prior auth", "prior auth number", "preauthorization", "pre authorization", "preauthorization number", "authorization number", "precertification number"),
        loose=r"(?:PA-?)?\d{6,12}|[A-Z]{1,4}-?\d{5,12}", said=0.8, countries=("US",),
    ),
    Entity("pii.us_claim_number", labels=("claim number", "claim no", "claim id", "claim"), loose=r"(?:CLM-?|C-?)?\d{6,15}|[A-Z]{1,4}-?\d{6,13}", said=0.8, countries=("US",)),
    Entity("pii.us_prescription_number", labels=("rx number", "rx no", "rx id", "prescription number", "prescription no", "prescription id"), loose=r"(?:RX-?)?\d{6,12}", said=0.8, countries=("US",)),
    Entity("pii.us_referral_number", labels=("referral number", "referral no", "referral id", "referral"), loose=r"(?:REF-?|R-?)?\d{6,12}", said=0.8, countries=("US",)),
)  # fmt: skip
