"""Identifiers of the Americas, of health care, and of accounts: found, and told from what looks like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.detect import PiiDetector, presidio_name
from aisecure.detect.entities import ENTITIES

DETECTOR = PiiDetector()

SAID = {
    "pii.us_npi": ("NPI ", "1234567893"),
    "pii.medical_license": ("DEA# ", "AB1234563"),
    "pii.us_mbi": ("Medicare number: ", "1EG4-TE5-MK73"),
    "pii.medical_record_number": ("MRN: ", "00-48-1193"),
    "pii.health_plan_id": ("Member ID: ", "XQZ884120031"),
    "pii.device_id": ("serial number ", "SN-40021877"),
    "pii.vin": ("VIN ", "WVWZZZ1JZ3W386752"),
    "pii.account_number": ("account no. ", "0040 118 227"),
    "pii.us_driver_license": ("driver's license ", "D8812034"),
    "pii.us_passport": ("passport number ", "C01234567"),
    "pii.aba_routing_number": ("routing number ", "021000021"),
    "pii.us_ein": ("EIN ", "12-3456789"),
    "pii.us_itin": ("ITIN ", "912-80-1234"),
    "pii.us_bank_number": ("checking account number ", "004417229"),
    "pii.employee_id": ("employee id ", "E-20418"),
    "pii.zip_code": ("ZIP code ", "90210-1234"),
    "pii.imei": ("IMEI ", "490154203237518"),
    "pii.ca_sin": ("SIN ", "553 218 041"),
    "pii.br_cpf": ("CPF ", "529.982.247-25"),
    "pii.br_cnpj": ("CNPJ ", "11.222.333/0001-81"),
    "pii.mx_curp": ("CURP ", "HEGG560427MVZRRL04"),
    "pii.ar_cuit": ("CUIT ", "20-12345678-6"),
    "pii.cl_rut": ("RUT ", "12.345.678-5"),
    "pii.co_nit": ("NIT ", "900.373.913-4"),
}
BARE = [
    "pii.us_mbi", "pii.us_itin", "pii.br_cpf", "pii.br_cnpj", "pii.mx_curp", "pii.ar_cuit", "pii.cl_rut", "pii.ca_sin", "pii.medical_license",
]  # fmt: skip


def found(text: str) -> list[tuple[str, str]]:
    return [(finding.kind, text[finding.start : finding.end]) for finding in DETECTOR.scan(text)]


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("around", ["{}", "It says {}, they wrote", "({})", "a\n{}\nb", "x {}. Next"])
def test_after_its_name_each_is_found_whole(kind: str, around: str) -> None:
    label, value = SAID[kind]
    assert found(around.format(label + value)) == [(kind, value)]


@pytest.mark.parametrize("kind", BARE)
def test_shape_and_check_digit_are_enough_for_some(kind: str) -> None:
    value = SAID[kind][1]
    assert (kind, value) in found(f"there is {value} in it")


@pytest.mark.parametrize(
    "kind",
    sorted(
        {entity.kind for entity in ENTITIES if entity.check and entity.shapes}
        & (set(SAID) - {"pii.device_id"})
    ),
)
@given(data=st.data())
def test_another_digit_is_no_such_number_or_still_passes_the_published_check(
    kind: str, data: st.DataObject
) -> None:
    """Whatever is changed, the check decides, and never raises."""
    value = "".join(filter(str.isalnum, SAID[kind][1])).upper()
    place = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.sampled_from("0123456789" if value[place].isdigit() else "ABCDEFGHJKLMNPRSTUVWXYZ"))
    changed = value[:place] + other + value[place + 1 :]
    checks = [entity.check for entity in ENTITIES if entity.kind == kind and entity.check]
    assert all(check(value) for check in checks[:1])
    assert all(check(changed) in (True, False) for check in checks)


@pytest.mark.parametrize(
    "kind",
    [
        "pii.us_npi",
        "pii.ca_sin",
        "pii.br_cpf",
        "pii.br_cnpj",
        "pii.ar_cuit",
        "pii.cl_rut",
        "pii.medical_license",
    ],
)
def test_every_other_last_digit_is_refused(kind: str) -> None:
    label, value = SAID[kind]
    for digit in "0123456789":
        if digit != value[-1]:
            assert (kind, value[:-1] + digit) not in found(label + value[:-1] + digit)


@pytest.mark.parametrize(
    "text",
    [
        "500 mg x 30, ICD-10 E11.9, CPT 99213, room 412B", "trial NCT01234567, lot 88A1204", "order 123456789 of part 4411-22", "version 2.10.4471",
        "took 1234567 ms", "commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "id=1234567893", "2024-11-23T10:00:01", "total 123456789 bytes",
        "chapter 12 of 3456", "port 8080, pid 12345", "the chart shows 40 percent", "a 17 digit AAAAAAAAAAAAAAAAA", "%s\\n 0o777",
    ],
)  # fmt: skip
def test_other_numbers_are_left(text: str) -> None:
    assert found(text) == []


def test_a_label_speaks_of_the_number_after_it_and_not_of_the_next() -> None:
    assert found("MRN 8841203. Something else 5512874 here") == [("pii.medical_record_number", "8841203")]


def test_numbers_alone_in_a_cell_get_the_benefit_of_the_doubt() -> None:
    assert found("52998224725") == [("pii.br_cpf", "52998224725")]
    assert found("seen 52998224725 twice") == []


def test_names_are_those_of_presidio() -> None:
    names = {presidio_name(entity.kind) for entity in ENTITIES}
    assert names >= {
        "US_NPI",
        "US_MBI",
        "MEDICAL_LICENSE",
        "US_ITIN",
        "US_PASSPORT",
        "US_DRIVER_LICENSE",
        "US_BANK_NUMBER",
        "ABA_ROUTING_NUMBER",
    }
