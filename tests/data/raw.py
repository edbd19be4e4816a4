"""Synthetic raw files in the exact formats of the shipped datasets."""

import random
from pathlib import Path

from tests.data.oracle import Row

FRAPPE = ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
GENRES = ("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
          "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller",
          "War", "Western")  # fmt: skip


def frappe(folder: Path, seed: int = 0) -> dict[str, list[Row]]:
    """CSV with a header and CRLF, one file per split."""
    rng = random.Random(seed)
    splits: dict[str, list[Row]] = {}
    for split, count in (("train", 60), ("valid", 20), ("test", 10)):
        rows = [
            {
                "label": rng.randint(0, 1),
                **{name: 100 * i + rng.randint(0, 9) for i, name in enumerate(FRAPPE)},
            }
            for _ in range(count)
        ]
        lines = [",".join(("label", *FRAPPE)), *(",".join(map(str, row.values())) for row in rows)]
        (folder / f"{split}.csv").write_bytes("".join(f"{line}\r\n" for line in lines).encode())
        splits[split] = rows
    return splits


def ml_100k(folder: Path, seed: int = 0) -> list[Row]:
    """Ratings, people and films; `|`-separated and latin-1; returns the joined rows in order of time."""
    rng = random.Random(seed)
    people = {u: (rng.randint(7, 70), rng.choice("MF"), f"job{rng.randint(0, 3)}", f"{rng.randint(0, 9):05d}")
              for u in range(1, 16)}  # fmt: skip
    films = {f: ("" if f == 3 else f"01-Jan-{rng.randint(1930, 1998)}", [rng.random() < 0.2 for _ in GENRES])
             for f in range(1, 21)}  # fmt: skip
    pairs = rng.sample([(u, f) for u in people for f in films], 150)
    ratings = [(u, f, rng.randint(1, 5), 881_250_000 + rng.randint(0, 40)) for u, f in pairs]
    (folder / "u.data").write_text("".join("\t".join(map(str, rating)) + "\n" for rating in ratings))
    (folder / "u.user").write_text(
        "".join(f"{u}|{age}|{sex}|{job}|{code}\n" for u, (age, sex, job, code) in people.items())
    )
    lines = [
        "|".join(
            (str(f), f"Père & fils {f} ({date[-4:]})", date, "", "http://x/?a=%E9", *("01"[g] for g in flags))
        )
        for f, (date, flags) in films.items()
    ]
    (folder / "u.item").write_bytes("".join(f"{line}\n" for line in lines).encode("latin-1"))
    return [
        {
            "label": int(rating >= 4), "user_id": u, "item_id": f, "gender": people[u][1],
            "occupation": people[u][2], "zip_code": people[u][3], "age": people[u][0],
            "release_year": films[f][0][-4:],
            "genres": "|".join(name for name, flag in zip(GENRES, films[f][1], strict=True) if flag),
        }
        for u, f, rating, _ in sorted(ratings, key=lambda r: (r[3], r[0], r[1]))
    ]  # fmt: skip


def criteo(path: Path, count: int = 280, seed: int = 0) -> list[Row]:
    """Headerless TSV of 40 columns with empty fields and negative integers."""
    rng = random.Random(seed)
    rows: list[Row] = []
    for _ in range(count):
        row: Row = {"label": int(rng.random() < 0.3)}
        for i in range(1, 14):
            row[f"I{i}"] = "" if rng.random() < 0.3 else rng.choice([-2, -1, 0, 1, 7, 250, 17668])
        for c in range(1, 27):
            row[f"C{c}"] = "" if rng.random() < 0.2 else f"{(c << 16) + min(rng.randint(0, 8) ** 2, 40):08x}"
        rows.append(row)
    path.write_text("".join("\t".join(map(str, row.values())) + "\n" for row in rows))
    return rows
