"""Encrypted columns on SQLite and PostgreSQL: what is stored, what comes back, what is refused, what is told."""

from __future__ import annotations

import asyncio
import io
import logging
import pickle
import traceback
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import (
    CHAR,
    Column,
    Date,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    bindparam,
    create_engine,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    mapped_column,
    relationship,
    selectinload,
)
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateTable

from aisecure.adapters.sqlalchemy import BlindIndexType, EncryptedAttribute, EncryptedType, current_tenant
from aisecure.call import acting_as
from aisecure.encryption import BlindIndex, FieldCipher, Keyring, caseless, using_cipher
from aisecure.errors import DecryptionError, Misconfigured, Unavailable
from aisecure.principal import Principal

CIPHER = FieldCipher(Keyring.generate())
INDEX = BlindIndex(Keyring.generate(), field=("patients", "email"), normalise=caseless)
MARKER = "MARKER-penicillin"


VALUES = [
    (str, ""),
    (str, "naïve \U0001f600 \x01"),
    (str, "x" * 2_000_000),
    (bytes, b""),
    (bytes, b"\x00\xff"),
    (dict, {"a": [1, None, {"b": "é"}]}),
    (list[int], [1, 2**80]),
    (date, date(1990, 1, 31)),
    (Decimal, Decimal("1.50")),
    (bool, False),
]


@pytest.fixture
def engine(url):
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite():
    engine = create_engine("sqlite://", poolclass=StaticPool)
    yield engine
    engine.dispose()


def column(of=str, **options):
    return Column("notes", EncryptedType(CIPHER, context=("patients", "notes"), of=of, **options))


def table(*columns, metadata=None):
    return Table("patients", metadata or MetaData(), Column("id", Integer, primary_key=True), *columns)


def stored(connection, column):
    """What really lies in the database."""
    raw = LargeBinary() if getattr(column.type, "binary", False) else Text()
    return connection.scalars(select(type_coerce(column, raw)).order_by(column.table.c.id)).all()


class Base(DeclarativeBase):
    pass


class Clinic(Base):
    __tablename__ = "clinics"
    id: Mapped[int] = mapped_column(primary_key=True)
    patients: Mapped[list[Patient]] = relationship(back_populates="clinic", order_by="Patient.born")


class Patient(Base):
    __tablename__ = "patients"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    clinic_id: Mapped[int | None] = mapped_column(ForeignKey("clinics.id"))
    clinic: Mapped[Clinic | None] = relationship(back_populates="patients")
    born: Mapped[date | None]
    diagnosis: Mapped[str | None] = mapped_column(EncryptedType(CIPHER, context=("patients", "diagnosis")))
    email = EncryptedAttribute(CIPHER, context=("patients", "email"), index=INDEX, unique=True)
    notes = EncryptedAttribute(CIPHER, context=("patients", "notes"))
    scores = EncryptedAttribute(CIPHER, context=("patients", "scores"), of=dict[str, int], binary=True)
    scan = EncryptedAttribute(CIPHER, context=("patients", "scan"), of=bytes, deferred=True)


class Visit(Base):
    __tablename__ = "visits"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    phone = EncryptedAttribute(
        CIPHER,
        context=("visits", "phone"),
        tenant="tenant",
        row=("number",),
        index=BlindIndex(Keyring.generate(), field=("visits", "phone")),
    )


class Diagnosis(Base):
    __tablename__ = "diagnoses"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(EncryptedType(CIPHER, context=("diagnoses", "text")))


class Counted(Base):
    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    notes = EncryptedAttribute(CIPHER, context=("counted", "notes"))


class Referred(Base):
    __tablename__ = "referred"
    id: Mapped[int] = mapped_column(primary_key=True)
    ref: Mapped[UUID] = mapped_column(default=uuid4, unique=True)
    notes = EncryptedAttribute(CIPHER, context=("referred", "notes"), row=("ref",))


@pytest.fixture
def session(sqlite):
    Base.metadata.create_all(sqlite)
    with Session(sqlite) as session:
        yield session


class TestColumns:
    def test_a_value_comes_back_as_it_was_and_lies_there_as_a_token(self, engine):
        metadata = MetaData()
        for n, (of, value) in enumerate(VALUES):
            for binary in {True, of is bytes}:
                kind = EncryptedType(CIPHER, context=("t", n), of=of, binary=binary)
                place = Table(
                    f"t{n}{binary}", metadata, Column("id", Integer, primary_key=True), Column("v", kind)
                )
                place.info.update(value=value, binary=binary)
        metadata.create_all(engine)
        with engine.begin() as connection:
            for place in metadata.tables.values():
                value = place.info["value"]
                back = connection.scalar(insert(place).values(v=value).returning(place.c.v))
                [token] = stored(connection, place.c.v)
                assert back == value == connection.scalar(select(place.c.v))
                assert type(back) is type(value)
                assert CIPHER.is_current(bytes(token) if place.info["binary"] else token)

    def test_null_stays_null(self, engine):
        patients = table(column())
        patients.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(patients), [{"notes": None}, {"notes": "well"}])
            assert stored(connection, patients.c.notes)[0] is None
            assert connection.scalars(select(patients.c.id).where(patients.c.notes.is_(None))).all() == [1]
            assert connection.scalars(select(patients.c.id).where(patients.c.notes != None)).all() == [2]  # noqa: E711

    def test_an_upsert_and_an_update_store_tokens(self, engine):
        from sqlalchemy.dialects import postgresql, sqlite

        patients = table(column())
        patients.metadata.create_all(engine)
        upsert = {"sqlite": sqlite, "postgresql": postgresql}[engine.dialect.name].insert(patients)
        upsert = upsert.on_conflict_do_update(index_elements=["id"], set_={"notes": upsert.excluded.notes})
        with engine.begin() as connection:
            for value in ("first", "second"):
                connection.execute(upsert, {"id": 1, "notes": value})
            assert connection.scalars(select(patients.c.notes)).all() == ["second"]
            connection.execute(update(patients).values(notes="third"))
            assert connection.scalars(select(patients.c.notes)).all() == ["third"]
            assert all(map(CIPHER.recognises, stored(connection, patients.c.notes)))

    def test_a_token_of_another_column_does_not_open(self, sqlite):
        other = Column("other", EncryptedType(CIPHER, context=("patients", "other")))
        patients = table(column(), other)
        patients.metadata.create_all(sqlite)
        with sqlite.begin() as connection:
            connection.execute(insert(patients).values(notes="well"))
            connection.execute(text("UPDATE patients SET other = notes"))
            with pytest.raises(DecryptionError):
                connection.execute(select(patients.c.other)).all()

    def test_two_columns_with_one_cipher_keep_their_places_in_cached_statements(self, sqlite):
        """SQLAlchemy tells types in cached statements apart by their positional arguments only."""
        places = [EncryptedType(CIPHER, context=("patients", name)) for name in ("notes", "other")]
        with sqlite.connect() as connection:
            tokens = [
                connection.scalar(select(func.substr(literal("x", place), 1, type_=Text())))
                for place in places
            ]
        for token, name in zip(tokens, ("notes", "other"), strict=True):
            assert CIPHER.decrypt(token, context=("patients", name)) == "x"

    def test_tokens_are_bound_to_the_tenant_of_the_principal(self, sqlite):
        patients = table(column(tenant=current_tenant))
        patients.metadata.create_all(sqlite)
        with acting_as(Principal("a", tenant="one")), sqlite.begin() as connection:
            connection.execute(insert(patients).values(notes="well"))
            assert connection.scalar(select(patients.c.notes)) == "well"
        other = acting_as(Principal("b", tenant="two"))
        with other, sqlite.begin() as connection, pytest.raises(DecryptionError):
            connection.scalar(select(patients.c.notes))

    @pytest.mark.parametrize(
        "refused",
        [
            lambda notes: notes == "x",
            lambda notes: notes != "x",
            lambda notes: notes == Column("other", String),
            lambda notes: notes == ["x"],
            lambda notes: notes > "x",
            lambda notes: "x" + notes,
            lambda notes: notes.like("x%"),
            lambda notes: notes.in_(["x"]),
            lambda notes: notes.is_("x"),
            lambda notes: notes.desc(),
            lambda notes: notes.between("a", "b"),
        ],
    )
    def test_what_has_no_answer_is_refused_and_the_index_named(self, refused):
        with pytest.raises(TypeError, match="BlindIndex"):
            refused(table(column()).c.notes)

    def test_the_cipher_may_come_later(self, sqlite):
        made = []
        patients = table(
            Column("notes", EncryptedType(lambda: made[0], context=("patients", "notes"))),
            Column("other", EncryptedType(context=("patients", "other"))),
        )
        patients.metadata.create_all(sqlite)
        made.append(CIPHER)
        with using_cipher(CIPHER), sqlite.begin() as connection:
            connection.execute(insert(patients).values(notes="a", other="b"))
            assert connection.execute(select(patients.c.notes, patients.c.other)).one() == ("a", "b")
        with sqlite.begin() as connection, pytest.raises(Misconfigured, match="using_cipher"):
            connection.execute(insert(patients).values(other="b"))

    @pytest.mark.parametrize("source", [1, "key", Keyring.generate()])
    def test_what_is_no_cipher_is_refused_at_once(self, source):
        with pytest.raises(TypeError):
            EncryptedType(source, context=("patients", "notes"))

    @pytest.mark.parametrize("context", [(), "patients", ["patients"], ("\ud800",), (None,)])
    def test_what_is_no_context_is_refused_at_once(self, context):
        with pytest.raises((TypeError, ValueError)):
            EncryptedType(CIPHER, context=context)

    def test_bytes_are_not_kept_as_text(self):
        with pytest.raises(ValueError, match="binary"):
            EncryptedType(CIPHER, context=("a", "b"), of=bytes, binary=False)

    @pytest.mark.parametrize(
        ("of", "value"),
        [
            (str, 5),
            (str, b"x"),
            (str, "\ud800"),
            (bytes, "x"),
            (bytes, bytearray(b"x")),
            (dict, []),
            (dict, {"a": (1, 2)}),
            (dict, {1: 2}),
            (dict, {"a": float("nan")}),
            (dict, {"a": "\ud800"}),
            (dict, {"a": object()}),
            (list[int], ["1"]),
            (int, True),
            (date, "1990-01-31"),
        ],
    )
    @pytest.mark.parametrize("binary", [False, True])
    def test_what_would_not_come_back_as_it_is_is_refused_unquoted(self, sqlite, of, value, binary):
        patients = table(column(of, binary=binary or of is bytes))
        patients.metadata.create_all(sqlite)
        with sqlite.connect() as connection, pytest.raises(StatementError) as caught:
            connection.execute(insert(patients).values(notes=value))
        assert isinstance(caught.value.orig, TypeError | ValueError)

    def test_cyclic_and_bottomless_values_are_refused(self, sqlite):
        patients = table(column(dict))
        patients.metadata.create_all(sqlite)
        cyclic: dict = {}
        cyclic["self"] = cyclic
        deep: dict = {}
        for _ in range(5_000):
            deep = {"a": deep}
        for value in (cyclic, deep):
            with sqlite.connect() as connection, pytest.raises(StatementError):
                connection.execute(insert(patients).values(notes=value))

    def test_a_value_of_another_type_in_the_database_is_no_crash(self, sqlite):
        patients, typed = table(column(dict)), table(column(list[int]))
        patients.metadata.create_all(sqlite)
        with sqlite.begin() as connection:
            connection.execute(insert(patients).values(notes={"a": MARKER}))
            with pytest.raises(Misconfigured, match=r"patients\.notes: .* no list") as caught:
                connection.scalar(select(typed.c.notes))
        assert MARKER not in told(caught.value)

    def test_a_token_is_not_encrypted_again(self, sqlite):
        patients = table(column())
        patients.metadata.create_all(sqlite)
        token = CIPHER.encrypt("x", context=("patients", "notes"))
        with sqlite.connect() as connection, pytest.raises(StatementError, match="a token already"):
            connection.execute(insert(patients).values(notes=token))

    @pytest.mark.parametrize("junk", ["", "plain", "é", "A" * 1_000_000], ids=lambda junk: junk[:5])
    def test_what_is_no_token_does_not_open(self, sqlite, junk):
        patients = table(column())
        patients.metadata.create_all(sqlite)
        with sqlite.begin() as connection:
            connection.execute(text("INSERT INTO patients (notes) VALUES (:junk)"), {"junk": junk})
            with pytest.raises(DecryptionError):
                connection.scalar(select(patients.c.notes))

    def test_a_table_is_made_without_keys(self):
        patients = table(
            Column("notes", EncryptedType(context=("a", "b"))),
            Column("scan", EncryptedType(context=("a", "c"), of=bytes)),
        )
        ddl = str(CreateTable(patients))
        assert "notes TEXT" in ddl
        assert "scan BLOB" in ddl
        assert repr(patients.c.notes.type) == "EncryptedType(context=('a', 'b'))"


def told(error) -> str:
    """All that an error tells a log or an error tracker that reads its attributes."""
    out = "".join(traceback.format_exception(error))
    while error is not None:
        out += repr(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    return out


class TestSecrecy:
    @pytest.fixture
    def log(self):
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        logger = logging.getLogger("sqlalchemy")
        logger.addHandler(handler)
        yield stream
        logger.removeHandler(handler)

    def test_echo_prints_tokens(self, url, log, capsys):
        engine = create_engine(url, echo=True)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(Patient(email=MARKER, notes=MARKER, diagnosis=MARKER, scores={MARKER: 1}))
            session.commit()
            [patient] = session.scalars(select(Patient).where(Patient.email == MARKER))
            patient.notes = patient.diagnosis = MARKER + "2"
            session.commit()
            session.execute(update(Patient).values(diagnosis=MARKER))
            session.execute(insert(Diagnosis), [{"id": 1, "text": MARKER}, {"id": 2, "text": MARKER}])
            session.commit()
        engine.dispose()
        said = log.getvalue() + "".join(capsys.readouterr())
        assert "INSERT INTO patients" in said
        assert "UPDATE patients" in said
        assert MARKER not in said

    def test_literal_binds_print_tokens(self, sqlite):
        statement = insert(table(column())).values(notes=MARKER)
        assert MARKER not in str(statement.compile(sqlite, compile_kwargs={"literal_binds": True}))

    def test_a_statement_whose_parameters_cannot_be_converted_tells_none(self, url):
        engine = create_engine(url)
        patients = table(
            column(), Column("born", Date), Column("scan", EncryptedType(CIPHER, context=("s",), of=dict))
        )
        patients.metadata.create_all(engine)
        rows: list[dict[str, object]] = [{"notes": MARKER, "scan": []}, {"notes": MARKER, "scan": "x"}]
        parameters: Any
        for parameters in (rows[0], rows):
            with engine.connect() as connection, pytest.raises(StatementError) as caught:
                connection.execute(insert(patients), parameters)
            assert MARKER not in told(caught.value)
            assert "INSERT INTO patients" in str(caught.value)
        engine.dispose()

    def test_another_columns_wrong_value_gives_no_plaintext_away(self, sqlite):
        patients = table(column(), Column("born", Date))
        patients.metadata.create_all(sqlite)
        with sqlite.connect() as connection, pytest.raises(StatementError) as caught:
            connection.execute(insert(patients), {"notes": MARKER, "born": "yesterday"})
        assert MARKER not in told(caught.value)

    def test_what_the_database_refuses_is_told_with_tokens(self, session):
        session.add(Patient(email="ada@example.org", notes=MARKER, diagnosis=MARKER))
        session.commit()
        session.add(Patient(email="Ada@Example.org", notes=MARKER, diagnosis=MARKER))
        with pytest.raises(IntegrityError) as caught:
            session.commit()
        assert MARKER not in told(caught.value)
        assert "example.org" not in told(caught.value).lower()

    def test_keys_that_are_away_are_unavailable_and_no_error_of_the_statement(self, sqlite):
        def away():
            raise Unavailable("the provider is down", code="unavailable.keys")

        patients = table(Column("notes", EncryptedType(away, context=("a", "b"))))
        patients.metadata.create_all(sqlite)
        with sqlite.connect() as connection, pytest.raises(Unavailable) as caught:
            connection.execute(insert(patients), {"notes": MARKER})
        assert caught.value.code == "unavailable.keys"
        assert MARKER not in told(caught.value)

    def test_a_plaintext_that_waits_for_the_flush_is_not_shown(self, session):
        patient = Patient(notes=MARKER)
        session.add(patient)
        assert MARKER not in repr(patient.notes_token)
        assert MARKER not in repr(inspect(patient).attrs.notes_token.history)
        with pytest.raises(TypeError, match="plaintext"):
            pickle.dumps(patient.notes_token)


class TestAttributes:
    def test_values_come_back_and_lie_there_as_tokens(self, session):
        patient = Patient(email="Ada@Example.org", notes="well", scores={"a": 1}, scan=b"\x00")
        session.add(patient)
        assert (patient.email, patient.notes, patient.scores, patient.scan) == (
            "Ada@Example.org", "well", {"a": 1}, b"\x00",
        )  # fmt: skip
        session.commit()
        session.expire_all()
        assert (patient.email, patient.notes, patient.scores, patient.scan) == (
            "Ada@Example.org", "well", {"a": 1}, b"\x00",
        )  # fmt: skip
        row = session.execute(text("SELECT email, email_index, notes, scores, scan FROM patients")).one()
        assert CIPHER.decrypt(row.email, context=("patients", "email", str(patient.id))) == "Ada@Example.org"
        assert row.email_index == INDEX.of("ada@example.org")
        assert CIPHER.is_current(row.notes)
        assert CIPHER.is_current(bytes(row.scores))
        assert CIPHER.is_current(bytes(row.scan))

    def test_a_change_is_stored_with_its_index(self, session):
        patient = Patient(email="ada@example.org")
        session.add(patient)
        session.commit()
        patient.email = "countess@example.org"
        session.commit()
        assert session.scalars(select(Patient.id).where(Patient.email == "ada@example.org")).all() == []
        assert session.scalars(select(Patient.id).where(Patient.email == "countess@example.org")).all() == [
            patient.id
        ]
        patient.email = None
        session.commit()
        assert session.execute(text("SELECT email, email_index FROM patients")).one() == (None, None)
        assert patient.email is None

    def test_a_record_without_value_has_none(self, session):
        session.add(Patient())
        session.commit()
        assert session.execute(text("SELECT email, email_index, notes FROM patients")).one() == (None,) * 3
        assert session.scalars(select(Patient).where(Patient.email == None)).one().notes is None  # noqa: E711
        assert session.scalars(select(Patient).where(Patient.notes.is_not(None))).all() == []

    def test_a_token_moved_to_another_row_does_not_open(self, session):
        ada, bob = Patient(notes="ada's"), Patient(notes="bob's")
        session.add_all([ada, bob])
        session.commit()
        session.execute(
            text("UPDATE patients SET notes = :token WHERE id = :id").bindparams(
                bindparam("id", type_=Uuid())
            ),
            {"token": ada.notes_token, "id": bob.id},
        )
        session.expire_all()
        assert ada.notes == "ada's"
        with pytest.raises(DecryptionError):
            _ = bob.notes

    def test_a_token_moved_to_another_tenant_does_not_open(self, session):
        session.add_all([Visit(tenant=tenant, number=1, phone=f"{tenant} 555") for tenant in ("one", "two")])
        session.commit()
        session.execute(text("UPDATE visits SET phone = (SELECT phone FROM visits WHERE tenant = 'one')"))
        session.expire_all()
        assert session.get(Visit, ("one", 1)).phone == "one 555"
        with pytest.raises(DecryptionError):
            _ = session.get(Visit, ("two", 1)).phone

    def test_equal_values_of_tenants_have_different_index_tokens(self, session):
        session.add_all([Visit(tenant=tenant, number=1, phone="555") for tenant in ("one", "two")])
        session.commit()
        assert len(set(session.scalars(select(Visit.phone.index)))) == 2
        found = session.scalars(select(Visit).where(Visit.phone.equals("555", tenant="two"))).all()
        assert [visit.tenant for visit in found] == ["two"]
        with pytest.raises(TypeError, match="which tenant"):
            _ = Visit.phone == "555"

    def test_look_ups_work_by_every_way_of_asking(self, session):
        session.add(Patient(email="ada@example.org"))
        session.add(Patient(email="bob@example.org"))
        session.commit()
        other = aliased(Patient)
        assert (
            session.scalars(select(Patient).filter_by(email="ADA@example.org")).one().email
            == "ada@example.org"
        )
        assert session.scalars(select(other).where(other.email == "bob@example.org")).one().email[0] == "b"
        both = Patient.email.in_(["ada@example.org", "bob@example.org", "eve@example.org"])
        assert session.scalar(select(func.count()).select_from(Patient).where(both)) == 2
        assert session.query(Patient).filter(Patient.email == "eve@example.org").all() == []

    @pytest.mark.parametrize(
        "refused",
        [
            lambda: Patient.email != "x",
            lambda: Patient.notes == "x",
            lambda: Patient.notes.in_(["x"]),
            lambda: Patient.notes.index,
            lambda: Patient.notes.token == "x",
            lambda: Patient.email > "x",
            lambda: Patient.email.is_("x"),
        ],
    )
    def test_what_has_no_answer_is_refused(self, refused):
        with pytest.raises(TypeError):
            refused()

    def test_unique_values_stay_unique(self, session):
        session.add_all([Patient(email="ada@example.org"), Patient(email=" ADA@example.org")])
        with pytest.raises(IntegrityError):
            session.commit()

    def test_rollback_refresh_expire_and_merge_keep_the_value(self, session):
        patient = Patient(notes="first")
        session.add(patient)
        session.commit()
        patient.notes = "second"
        session.rollback()
        assert patient.notes == "first"
        patient.notes = "third"
        session.refresh(patient)
        assert patient.notes == "first"
        session.expunge(patient)
        patient.notes = "fourth"
        merged = session.merge(patient)
        session.commit()
        session.expire_all()
        assert merged.notes == "fourth"

    def test_a_failed_flush_can_be_tried_again(self, session):
        session.add(Patient(email="ada@example.org"))
        session.commit()
        again = Patient(email="ada@example.org", notes="kept")
        session.add(again)
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        again.email = "eve@example.org"
        session.add(again)
        session.commit()
        session.expire_all()
        assert (again.email, again.notes) == ("eve@example.org", "kept")

    def test_relationships_load_and_deferred_tokens_come_when_asked_for(self, session):
        clinic = Clinic(
            id=1,
            patients=[Patient(notes=str(n), scan=b"%d" % n, born=date(2000, 1, 1 + n)) for n in range(3)],
        )
        session.add(clinic)
        session.commit()
        session.expunge_all()
        clinic = session.scalars(select(Clinic).options(selectinload(Clinic.patients))).one()
        assert [patient.notes for patient in clinic.patients] == ["0", "1", "2"]
        assert "scan_token" in inspect(clinic.patients[2]).unloaded
        clinic.patients[2].born = date(2010, 1, 1)
        session.flush()
        assert "scan_token" in inspect(clinic.patients[2]).unloaded
        assert clinic.patients[2].scan == b"2"

    def test_a_key_that_tokens_are_bound_to_cannot_change(self, session):
        patient = Patient(notes="well")
        session.add(patient)
        session.commit()
        patient.id = uuid4()
        with pytest.raises(ValueError, match="cannot change"):
            session.commit()
        session.rollback()
        assert patient.notes == "well"

    def test_a_key_that_the_database_makes_is_refused_and_the_remedy_named(self, session):
        session.add(Counted(notes="well"))
        with pytest.raises(Misconfigured, match=r"default=uuid4.*row"):
            session.commit()
        session.rollback()
        session.add(Counted(id=7, notes="well"))
        session.commit()
        session.expire_all()
        assert session.get(Counted, 7).notes == "well"

    @pytest.mark.parametrize(
        ("kind", "value", "error"),
        [
            (Integer, "42", TypeError),
            (Integer, 4.0, TypeError),
            (Integer, True, TypeError),
            (String, 42, TypeError),
            (Uuid(as_uuid=False), str(UUID(int=0xABC)).upper(), ValueError),
            (CHAR(9), "abc", Misconfigured),
            (Date, date(2026, 1, 1), TypeError),
        ],
    )
    def test_a_key_that_would_come_back_as_another_is_refused(self, sqlite, kind, value, error):
        class Local(DeclarativeBase):
            pass

        class Row(Local):
            __tablename__ = "rows"
            id = mapped_column(kind, primary_key=True, autoincrement=False)
            notes = EncryptedAttribute(CIPHER, context=("rows", "notes"))

        Local.metadata.create_all(sqlite)
        with Session(sqlite) as session:
            session.add(Row(id=value, notes="well"))
            with pytest.raises(error):
                session.commit()

    @pytest.mark.parametrize(
        ("kind", "value"), [(Integer, 42), (String, "a"), (Uuid(as_uuid=False), str(UUID(int=0xABC)))]
    )
    def test_other_keys_come_back(self, sqlite, kind, value):
        class Local(DeclarativeBase):
            pass

        class Row(Local):
            __tablename__ = "rows"
            id = mapped_column(kind, primary_key=True, autoincrement=False)
            notes = EncryptedAttribute(CIPHER, context=("rows", "notes"))

        Local.metadata.create_all(sqlite)
        with Session(sqlite) as session:
            session.add(Row(id=value, notes="well"))
            session.commit()
            session.expunge_all()
            assert session.scalars(select(Row)).one().notes == "well"

    def test_another_attribute_can_name_the_row(self, session):
        record = Referred(notes="well")
        session.add(record)
        session.commit()
        session.expire_all()
        assert record.notes == "well"
        assert CIPHER.decrypt(record.notes_token, context=("referred", "notes", str(record.ref))) == "well"

    @pytest.mark.parametrize(
        "write",
        [
            lambda s: s.execute(insert(Patient), [{"notes_token": MARKER}]),
            lambda s: s.execute(insert(Patient.__table__).values(notes=MARKER, id=uuid4())),
            lambda s: s.execute(update(Patient).values(notes_token=MARKER)),
            lambda s: s.execute(update(Patient).values(email_index=MARKER)),
            lambda s: s.execute(insert(Patient), [{"notes": MARKER}]),
            lambda s: s.execute(update(Patient).values(notes=MARKER)),
            lambda s: s.execute(insert(Patient).values(notes=MARKER)),
            lambda s: s.execute(insert(Patient).values(email=MARKER, id=uuid4())),
            lambda s: s.bulk_save_objects([Patient(notes=MARKER)]),
            lambda s: s.bulk_save_objects([Patient(scan=MARKER.encode())]),
        ],
    )  # fmt: skip
    def test_what_writes_past_the_attribute_stores_no_plaintext(self, session, write):
        session.add(Patient(notes="well"))
        session.commit()
        try:
            write(session)
            session.commit()
        except Exception as error:  # noqa: BLE001  (whichever it is)
            assert MARKER not in told(error)  # noqa: PT017
        else:
            pytest.fail("nothing was refused")
        session.rollback()
        assert session.scalar(select(func.count()).select_from(Patient)) == 1
        [patient] = session.scalars(select(Patient))
        assert patient.notes == "well"

    @pytest.mark.parametrize("options", [{"row": ()}, {"row": "id"}, {"unique": True}, {"context": ()}])
    def test_wrong_options_are_refused_at_once(self, options):
        with pytest.raises((TypeError, ValueError)):
            EncryptedAttribute(CIPHER, **{"context": ("a", "b")} | options)

    def test_subclasses_and_mixins_have_it_too(self, sqlite):
        class Local(DeclarativeBase):
            pass

        class Noted:
            notes = EncryptedAttribute(CIPHER, context=("noted",))

        class Person(Noted, Local):
            __tablename__ = "people"
            id: Mapped[str] = mapped_column(primary_key=True)
            kind: Mapped[str]
            __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012

        class Nurse(Person):
            __tablename__ = "nurses"
            id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
            ward = EncryptedAttribute(CIPHER, context=("nurses", "ward"))
            __mapper_args__ = {"polymorphic_identity": "nurse"}  # noqa: RUF012

        Local.metadata.create_all(sqlite)
        with Session(sqlite) as session:
            session.add_all([Person(id="p", notes="a"), Nurse(id="n", notes="b", ward="c")])
            session.commit()
            assert session.get(Person, "p").notes == "a"
            nurse = session.get(Nurse, "n")
            assert (nurse.notes, nurse.ward) == ("b", "c")

    def test_the_index_column_takes_index_tokens_only(self, sqlite):
        people = Table(
            "people",
            MetaData(),
            Column("email_index", BlindIndexType()),
            Column("name", String),
            Column("id", Uuid),
        )
        people.metadata.create_all(sqlite)
        with sqlite.begin() as connection:
            connection.execute(insert(people).values(email_index=INDEX.of("ada"), name="a"))
            found = select(people.c.name).where(people.c.email_index.in_(INDEX.candidates("ADA")))
            assert connection.scalars(found).all() == ["a"]
            with pytest.raises(StatementError, match="index tokens only") as caught:
                connection.execute(insert(people).values(email_index=MARKER))
            assert MARKER not in told(caught.value)


def test_attributes_work_the_same_on_postgresql(postgres):
    engine = create_engine(postgres)
    Base.metadata.create_all(engine)
    try:
        with Session(engine) as session:
            ada = Patient(
                email="Ada@Example.org", notes="well", scores={"a": 1}, scan=b"\x00", diagnosis="none"
            )
            bob = Patient(notes="bob's")
            session.add_all([ada, bob, Visit(tenant="one", number=1, phone="555")])
            session.commit()
            assert session.scalars(select(Patient).where(Patient.email == "ada@example.org")).one() is ada
            assert (ada.email, ada.notes, ada.scores, ada.scan) == (
                "Ada@Example.org",
                "well",
                {"a": 1},
                b"\x00",
            )
            assert session.get(Visit, ("one", 1)).phone == "555"
            session.execute(
                text("UPDATE patients SET notes = (SELECT notes FROM patients WHERE email IS NOT NULL)")
            )
            session.expire_all()
            assert ada.notes == "well"
            with pytest.raises(DecryptionError):
                _ = bob.notes
            session.add(Patient(email="ada@example.org", notes=MARKER, diagnosis=MARKER))
            with pytest.raises(IntegrityError) as caught:
                session.commit()
            assert MARKER not in told(caught.value)
            session.rollback()
            with pytest.raises(StatementError, match="tokens only"):
                session.execute(update(Patient).values(notes_token=MARKER))
    finally:
        Base.metadata.drop_all(engine)
        engine.dispose()


def test_an_async_engine_works_the_same(postgres):
    async def run():
        engine = create_async_engine(postgres)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine, expire_on_commit=False) as session:
            session.add(Patient(email="ada@example.org", diagnosis="well", notes="fine"))
            await session.commit()
        async with AsyncSession(engine) as session:
            patient = await session.scalar(select(Patient).where(Patient.email == "ada@example.org"))
            assert (patient.email, patient.diagnosis, patient.notes) == ("ada@example.org", "well", "fine")
            with pytest.raises(StatementError) as caught:
                await session.execute(insert(Patient), [{"diagnosis": 5, "notes_token": MARKER}])
            assert MARKER not in told(caught.value)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
        await engine.dispose()

    asyncio.run(run())
