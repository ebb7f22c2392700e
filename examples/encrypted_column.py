"""A table with encrypted columns: written, searched, its key rotated, re-encrypted, and the old key retired.

pip install 'aisecure[sql]'
python examples/encrypted_column.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from aisecure.adapters.sqlalchemy import EncryptedAttribute, EncryptedType, TableTokens
from aisecure.encryption import BlindIndex, FieldCipher, KeyFile, caseless, reencrypt
from aisecure.errors import DecryptionError

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

# In production the keys lie apart from the database, and a KMS wraps them: docs/how-to/keep-keys-in-a-kms.md.
# The index has a ring of its own, because rotating that one means computing every index token anew.
keys = KeyFile(folder / "keys" / "fields.json")
index_keys = KeyFile(folder / "keys" / "index.json")
keys.open()
index_keys.open()
cipher = FieldCipher(keys)


class Base(DeclarativeBase):
    """The tables of the application."""


class Patient(Base):
    """What the database must not be able to read, apart from the id."""

    __tablename__ = "patients"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    # A type: works in every statement, its tokens are bound to the column.
    born: Mapped[date] = mapped_column(EncryptedType(cipher, context=("patients", "born"), of=date))
    # Attributes: their tokens are bound to the row too; this one can be looked up, and is unique.
    email = EncryptedAttribute(
        cipher,
        context=("patients", "email"),
        index=BlindIndex(index_keys, field=("patients", "email"), normalise=caseless),
        unique=True,
        nullable=False,
    )
    allergies = EncryptedAttribute(cipher, context=("patients", "allergies"), of=list[str])


engine = create_engine(f"sqlite:///{folder / 'clinic.db'}")
Base.metadata.create_all(engine)

with Session(engine) as session:
    ada = Patient(email="ada@example.org", born=date(1815, 12, 10), allergies=["penicillin"])
    bob = Patient(email="bob@example.org", born=date(1990, 1, 31), allergies=[])
    session.add_all([ada, bob])
    session.commit()

    print("What the database holds:")
    for row in session.execute(text("SELECT email, email_index, born, allergies FROM patients")):
        print("  " + "  ".join(f"{value[:20]}..." for value in row))

    found = session.scalars(select(Patient).where(Patient.email == "ADA@Example.org")).one()
    print(f"Found by e-mail address: born {found.born}, allergic to {', '.join(found.allergies or [])}")

    session.execute(text("UPDATE patients SET allergies = (SELECT allergies FROM patients LIMIT 1)"))
    session.expire_all()
    moved = 0
    for patient in (ada, bob):
        try:
            _ = patient.allergies
        except DecryptionError:
            moved += 1
    print(f"Copied to another row, {moved} of 2 tokens does not open")
    session.rollback()

old = keys.ring().primary
keys.rotate()
for column in (Patient.email, Patient.born, Patient.allergies):
    report = reencrypt(TableTokens(engine, column), cipher)
    print(f"{report.store}: {report.changed} re-encrypted, under the old key now {report.tokens.get(old, 0)}")
    if not report.ok:
        raise SystemExit(f"{report.failed} tokens do not open; the old key stays")
keys.retire(old)

with Session(engine) as session:
    found = session.scalars(select(Patient).where(Patient.email == "bob@example.org")).one()
    print(f"After the old key was retired: {found.email}, born {found.born}")
engine.dispose()
