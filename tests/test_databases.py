"""Databases as catalogues and as places of tables: PostgreSQL and SQLite."""

import json
import sqlite3
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vitrina as vt
from support.cli import vitrina
from support.postgresql import PASSWORD, running_server
from vitrina.data.options import whole_table
from vitrina.data.reading import Reading
from vitrina.database.base import TableName, select_of
from vitrina.database.open import open_database
from vitrina.database.url import DatabaseURL, is_database_url
from vitrina.errors import CatalogueError, MissingPackageError, OptionError
from vitrina.tables.destination import Destination
from vitrina.tables.options import OutputOptions
from vitrina.tables.write import write_table

QUOTED = "p%40ss%2Fw%3Frd%3A1"

PRODUCTS = """
CREATE TABLE products (
    product_id numeric(18), category_id bigint, category_name text, text_fields jsonb,
    price numeric(10, 2), kind mood, updated timestamptz, day date, names text[], photo bytea,
    cost money, wait interval, ip inet, key uuid, "odd ""x y" text
)"""
ROWS = """
INSERT INTO products VALUES
    (9007199254740993, 10, 'Дом->Кружки',
     '{"title": "Кружка", "attributes": ["Цвет: красный"]}', 19.90, 'new',
     '2026-12-01 10:00+03', '2026-12-01', '{a,b}', '\\x00ff', '12.50', '1 day', '10.0.0.1',
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'x'),
    (2, NULL, NULL, '{"title": "Тарелка"}', 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL),
    (NULL, 1, 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"""


@pytest.fixture(scope="module")
def server():
    with running_server() as one:
        one.execute(
            "CREATE TYPE mood AS ENUM ('new', 'old')",
            PRODUCTS,
            ROWS,
            "GRANT SELECT ON products TO app",
            "CREATE SCHEMA shop AUTHORIZATION app",
            "GRANT USAGE ON SCHEMA public TO app",
        )
        yield one


@pytest.fixture
def sqlite(tmp_path):
    """A database whose columns hold values of several types, as SQLite's may."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE products (product_id INTEGER, title, price, photo BLOB)")
        rows = [(n, None if n < 3000 else f"Кружка {n}", n / 2, None) for n in range(4000)]
        rows[10] = (10, 17, "n/a", b"\x00\xff")
        connection.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", rows)
        connection.execute('CREATE VIEW "two words" AS SELECT * FROM products')
    connection.close()
    return f"sqlite:///{path}"


def products_of(catalogue):
    return [product for batch in catalogue.batches() for product in batch.products]


def rows_of(url, query):
    with open_database(DatabaseURL.parse(url)).read(select_of(query)) as result:
        return pa.Table.from_batches(list(result.batches), result.schema)


def write(url, table, name="predictions", **options):
    destination = Destination.of(url, OutputOptions(table=name, **options))
    return write_table([table], table.schema, destination)


# URLs


@pytest.mark.parametrize(
    ("text", "shown", "parameters"),
    [
        ("postgresql://h/db", "postgresql://h/db", {"host": "h", "dbname": "db"}),
        (
            "postgres://u:p%40s@h:5433/db?sslmode=require",
            "postgresql://u@h:5433/db",
            {
                "user": "u",
                "password": "p@s",
                "host": "h",
                "port": "5433",
                "dbname": "db",
                "sslmode": "require",
            },
        ),
        ("postgresql://", "postgresql://", {}),
        ("postgresql://u:a/b@c?d@h/db", "postgresql://u@h/db", {"password": "a/b@c?d"}),
        ("postgresql://a:1,b:2/db", "postgresql://a:1,b:2/db", {"host": "a,b", "port": "1,2"}),
        ("postgresql://[::1]:5/db", "postgresql://[::1]:5/db", {"host": "::1", "port": "5"}),
        ("postgresql://u@/db?host=/tmp&password=s", "postgresql://u@/db", {"host": "/tmp"}),
        ("POSTGRESQL://u:p@h/db?user=a%40b", "postgresql://u@h/db", {"user": "a@b"}),
    ],
)
def test_urls_of_postgresql(text, shown, parameters):
    url = DatabaseURL.parse(text)
    assert (url.shown, str(url)) == (shown, shown)
    assert parameters.items() <= url.parameters.items()
    for secret in ("p@s", "a/b", "c?d", "=s"):
        assert secret not in repr(url)


def test_a_connection_string_is_quoted():
    url = DatabaseURL.parse("postgresql://u:a'b%5Cc%20d@h/db")
    assert "password='a\\'b\\\\c d'" in url.conninfo
    assert url.redact("what a'b\\c d is") == "what *** is"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("postgresql://u:secret@h/db?driver=/tmp/evil.so", "an unknown parameter 'driver'"),
        ("postgresql://u:secret@h/db?sslkey=engine:evil", "sslkey"),
        ("postgresql://u:secret@h:port/db", "a port that is no number"),
        ("postgresql://u:secret@h/db/more", "percent-encoded"),
        ("postgresql://u:$NOT_SET_HERE@h/db", "NOT_SET_HERE, which the environment lacks"),
        ("mysql://u:secret@h/db", "mysql:// can't be read or written"),
        ("postgresql+evil://u:secret@h/db", "can't be read or written"),
        ("sqlite://file", "an SQLite database is sqlite:///FILE"),
        ("sqlite:///x.db?vfs=evil", "without parameters"),
        ("file://evil", "can't be read or written"),
    ],
)
def test_urls_that_are_refused(text, message):
    assert is_database_url(text)
    with pytest.raises(CatalogueError, match=message) as caught:
        vt.Catalogue.read(text, query="products")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_url_that_became_a_path_is_refused_without_its_password():
    path = Path("postgresql://u:secret@h/db")
    for read in (vt.Catalogue.read, lambda one: vt.Catalogue.open(one, Reading())):
        with pytest.raises(CatalogueError, match="postgresql:// is no path") as caught:
            read(path)
        assert "secret" not in str(caught.value)


def test_variables_of_the_environment_stand_for_parts(monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    for text in ("$SHOP_PASSWORD", "${SHOP_PASSWORD}"):
        url = DatabaseURL.parse(f"postgresql://app:{text}@h/db")
        assert url.parameters["password"] == PASSWORD
        assert PASSWORD not in repr(url)
    assert DatabaseURL.parse("postgresql://u:%24HOME@h").parameters["password"] == "$HOME"


@pytest.mark.parametrize(
    ("text", "schema", "name", "sql"),
    [
        ("products", "", "products", '"products"'),
        ("shop.products", "shop", "products", '"shop"."products"'),
        ('"a.b"."c ""d"""', "a.b", 'c "d"', '"a.b"."c ""d"""'),
        ("товары", "", "товары", '"товары"'),
    ],
)
def test_names_of_tables(text, schema, name, sql):
    table = TableName.parse(text)
    assert (table.schema, table.name, table.quoted) == (schema, name, sql)
    assert select_of(text) == f"SELECT * FROM {sql}"


@pytest.mark.parametrize("text", ["", "a.b.c", "a.", '"a', "a..b", '"a"b'])
def test_names_of_no_table(text):
    with pytest.raises(OptionError, match="must be a table's name"):
        TableName.parse(text)


def test_queries_are_told_from_names():
    assert select_of(" select 1 -- one ; \n;") == "select 1 -- one\n".replace("one", "one ;", 1)
    assert select_of("values(1)") == "values(1)\n"
    assert select_of(whole_table("my table")) == 'SELECT * FROM "my table"'
    assert select_of(whole_table("shop.my table")) == 'SELECT * FROM "shop"."my table"'


def test_a_query_needs_a_database(tmp_path):
    (tmp_path / "x.csv").write_text("product_id,title\n1,a\n")
    with pytest.raises(OptionError, match="query applies to a database's URL, not to"):
        vt.Catalogue.read(tmp_path / "x.csv", query="select 1")


# SQLite


def test_columns_of_sqlite_may_hold_anything(sqlite):
    table = rows_of(sqlite, "products")
    assert table.schema.types == [pa.int64(), pa.string(), pa.string(), pa.binary()]
    assert table.slice(10, 1).to_pylist() == [
        {"product_id": 10, "title": "17", "price": "n/a", "photo": b"\x00\xff"}
    ]
    assert rows_of(sqlite, "select 1 as a, 1 as a, null").schema.names == ["a", "a", "null"]
    assert rows_of(sqlite, "select 1 x union select 2.5").column("x").to_pylist() == [1.0, 2.5]


def test_a_catalogue_of_sqlite(sqlite):
    catalogue = vt.Catalogue.read(sqlite, query="select * from products where title is not null")
    assert str(catalogue.path) == sqlite
    products = products_of(catalogue)
    assert [product.product_id for product in products] == [10, *range(3000, 4000)]
    assert products[1].title == "Кружка 3000"
    # Each pass sees the same rows.
    assert products_of(catalogue) == products


@pytest.mark.parametrize(
    "query",
    [
        "delete from products",
        "insert into products values (1, 'a', 1, null) returning *",
        "attach 'evil.db' as evil",
        "pragma journal_mode = wal",
        "create table x (a)",
        "drop table products",
        "select 1; drop table products",
        "select load_extension('/tmp/evil.so')",
    ],
)
def test_a_query_of_sqlite_may_only_read(sqlite, query, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CatalogueError):
        vt.Catalogue.read(sqlite, query=query)
    assert rows_of(sqlite, "select count(*) n from products").column("n").to_pylist() == [4000]
    assert [file.name for file in tmp_path.iterdir()] == ["shop.db"]


def test_without_a_query_the_tables_are_named(sqlite, tmp_path):
    with pytest.raises(CatalogueError, match=r'there are products, "two words"$'):
        vt.Catalogue.read(sqlite)
    with pytest.raises(CatalogueError, match="there is no such file"):
        vt.Catalogue.read(f"sqlite:///{tmp_path}/no.db", query="x")
    with pytest.raises(CatalogueError, match="an SQLite database; give its URL"):
        vt.Catalogue.read(tmp_path / "shop.db")


TABLE = pa.table(
    {
        "product_id": pa.array([1, 2], pa.int64()),
        "title": ["Кружка\0", None],
        "probability": pa.array([0.1, None], pa.float32()),
        "accepted": [True, None],
        "reasons": [["model", "copies"], None],
    }
)
FLAT = [(1, "Кружка", 0.1, True, "model, copies"), (2, None, None, None, None)]


def test_tables_of_sqlite(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"

    def read():
        return rows_of(url, "predictions").to_pylist()

    assert write(url, TABLE) == 2
    first = read()
    assert [tuple(row.values()) for row in first] == [
        (1, "Кружка\0", 0.1, 1, "model, copies"),
        FLAT[1],
    ]
    with pytest.raises(CatalogueError, match="the table predictions exists; say --if-exists"):
        write(url, TABLE)
    write(url, TABLE, if_exists="append")
    assert read() == first * 2
    write(url, TABLE.slice(0, 1), if_exists="replace")
    assert read() == first[:1]
    with pytest.raises(CatalogueError, match="has no column more, so nothing can be appended"):
        write(url, TABLE.append_column("more", [[1, 2]]), if_exists="append")
    with pytest.raises(CatalogueError, match="SQLite has no schemas"):
        write(url, TABLE, "a.b")


def broken(table):
    yield table
    raise CatalogueError("broken")


def test_a_failure_leaves_sqlite_as_it_was(tmp_path):
    path = tmp_path / "new.db"
    database = open_database(DatabaseURL.parse(f"sqlite:///{path}"))
    flat = TABLE.drop_columns(["reasons"])
    with pytest.raises(CatalogueError, match="broken"):
        database.write(
            TableName("p"),
            OutputOptions().if_exists,
            flat.schema,
            broken(flat.to_batches()[0]),
        )
    assert not path.exists()


# PostgreSQL


def test_types_of_postgresql(server):
    catalogue = vt.Catalogue.read(
        server.url(),
        query="products",
        columns=vt.Columns(
            attributes='kind,updated,day,names,cost,wait,ip,key,odd "x y', keep="price"
        ),
    )
    assert catalogue.id_type is int
    assert catalogue.path == "postgresql://vitrina@/postgres"
    batches = list(catalogue.batches())
    first, second = (product for batch in batches for product in batch.products)
    assert first.product_id == 9007199254740993
    assert (first.category_id, first.category_name) == (10, "Дом->Кружки")
    assert first.title == "Кружка"
    assert first.attributes == (
        "Цвет: красный",
        "kind: new",
        "updated: 2026-12-01 07:00:00.000000Z",
        "day: 2026-12-01",
        "names: a, b",
        "cost: $12.50",
        "wait: 1 day",
        "ip: 10.0.0.1/32",
        "key: a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        'odd "x y: x',
    )
    assert first.metadata == (("price", 19.9),)
    assert (second.product_id, second.title, second.metadata) == (2, "Тарелка", ())
    assert [one.reason for batch in batches for one in batch.rejected] == ["no product_id"]


def test_photos_in_a_column_of_postgresql(server):
    catalogue = vt.Catalogue.read(server.url(), query="products", columns=vt.Columns(image="photo"))
    first, second = products_of(catalogue)
    (reference,) = catalogue.images.references(first)
    assert catalogue.images.read(reference) == b"\x00\xff"
    assert catalogue.images.references(second) == ()


def test_decimals_are_exact(server):
    query = "select 1 as product_id, 'x' as title, 12345678901234567890.5 as price"
    records = vt.Catalogue.read(server.url(), query=query)._reader._records
    assert list(records.rows(["price"])) == [(Decimal("12345678901234567890.5"),)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("delete from products", "cannot execute DELETE in a read-only transaction"),
        ("delete from products returning *", "in a read-only transaction"),
        (
            "with x as (delete from products returning *) select * from x",
            "must be at the top level",
        ),
        ("drop table products", "cannot execute DROP TABLE in a read-only transaction"),
        ("select 1; drop table products", "cannot insert multiple commands"),
        ("select nextval('s')", 'relation "s" does not exist'),
        ("nope", 'relation "nope" does not exist$'),
        ("selekt 1", 'syntax error at or near "selekt"$'),
    ],
)
def test_a_query_of_postgresql_may_only_read(server, query, message):
    with pytest.raises(CatalogueError, match=message):
        vt.Catalogue.read(server.url(), query=query)
    assert server.execute("SELECT count(*) FROM products") == [(3,)]


def test_without_a_query_the_tables_of_postgresql_are_named(server):
    with pytest.raises(CatalogueError, match=r"say which rows with --query or --table; there are "):
        vt.Catalogue.read(server.url())


def test_a_password_works_as_with_libpq_and_is_never_shown(server, monkeypatch, tmp_path):
    def count(url):
        return len(rows_of(url, "products"))

    assert count(server.url("app", QUOTED)) == 3
    # Written as it is.
    assert count(server.url("app", PASSWORD)) == 3
    monkeypatch.setenv("SHOP", PASSWORD)
    assert count(server.url("app", "$SHOP")) == 3
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert count(server.url("app")) == 3
    monkeypatch.delenv("PGPASSWORD")
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:app:" + PASSWORD.replace(":", "\\:") + "\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    assert count(server.url("app")) == 3
    with pytest.raises(CatalogueError, match="password authentication failed") as caught:
        count(server.url("app", "s3cret%2Fx"))
    assert "s3cret" not in str(caught.value)


def test_tables_of_postgresql(server):
    url = server.url("app", QUOTED)

    def read(name):
        return server.execute(f"SELECT * FROM {name} ORDER BY 1")

    name = 'shop."Pred ""x"""'
    assert write(url, TABLE, name) == 2
    found = read(name)
    assert found[0][:2] == FLAT[0][:2]
    assert found[0][2] == pytest.approx(0.1)
    assert found[0][3:] == FLAT[0][3:]
    assert found[1] == FLAT[1]
    with pytest.raises(CatalogueError, match=r'the table shop\.Pred "x" exists') as caught:
        write(url, TABLE, name)
    assert PASSWORD not in str(caught.value)
    write(url, TABLE, name, if_exists="append")
    assert len(read(name)) == 4
    write(url, TABLE.slice(0, 1), name, if_exists="replace")
    assert [row[0] for row in read(name)] == [1]
    with pytest.raises(CatalogueError, match="has no column more"):
        write(url, TABLE.append_column("more", [[1, 2]]), name, if_exists="append")
    # The right to create is in its own schema alone.
    with pytest.raises(CatalogueError, match="no right to create a table in the current schema"):
        write(url, TABLE, "elsewhere")
    with pytest.raises(CatalogueError, match="no right to insert into the table products"):
        write(url, TABLE.select(["product_id"]), "products", if_exists="append")


def test_appended_rows_take_the_types_of_the_table(server):
    server.execute(
        "DROP TABLE IF EXISTS own",
        "CREATE TABLE own (id serial, probability numeric(6, 3), product_id text, title text,"
        " accepted boolean, reasons text, CHECK (title <> 'bad'))",
    )
    write(server.url(), TABLE, "own", if_exists="append")
    rows = server.execute("SELECT id, probability::text, product_id FROM own ORDER BY id")
    assert rows == [(1, "0.100", "1"), (2, None, "2")]
    bad = TABLE.set_column(1, "title", pa.array(["good", "bad"]))
    with pytest.raises(CatalogueError, match="violates check constraint") as caught:
        write(server.url(), bad, "own", if_exists="append")
    assert server.execute("SELECT count(*) FROM own") == [(2,)]
    # Hours of work are not lost.
    kept = str(caught.value).rsplit("the rows are kept in ", 1)[1]
    assert pq.read_table(kept).column("title").to_pylist() == ["good", "bad"]


def test_a_failure_leaves_a_replaced_table_as_it_was(server):
    url = server.url()
    write(url, TABLE, "kept_table", if_exists="replace")
    server.execute("CREATE OR REPLACE VIEW on_it AS SELECT * FROM kept_table")
    with pytest.raises(CatalogueError, match="other objects depend on it"):
        write(url, TABLE.slice(0, 1), "kept_table", if_exists="replace")
    assert server.execute("SELECT count(*) FROM kept_table") == [(2,)]
    flat = TABLE.drop_columns(["reasons"])
    with pytest.raises(CatalogueError, match="broken"):
        open_database(DatabaseURL.parse(url)).write(
            TableName("new"),
            OutputOptions().if_exists,
            flat.schema,
            broken(flat.to_batches()[0]),
        )
    assert server.execute("SELECT to_regclass('new')") == [(None,)]


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(MissingPackageError, match=r"`pip install 'vitrina\[postgresql\]'`"):
        vt.Catalogue.read("postgresql://h/db", query="x")


@pytest.mark.slow
def test_from_a_database_and_back(server, sample, tmp_path, capsys):
    """The whole way on the command line; the store never learns the password."""
    table = pq.read_table(sample.train).slice(0, 60)
    url = server.url("app", QUOTED)
    server.execute("DROP TABLE IF EXISTS goods")
    write(server.url(), table, "goods")
    server.execute("GRANT SELECT ON goods TO app")
    store = tmp_path / "store"
    embed = ["embed", url, "--store", store, "--text-model", "lexical", "--images", "none"]
    assert vitrina(*embed, "--query", "select * from goods order by product_id") == 0
    assert vitrina(*embed, "--table", "goods") == 0
    assert "60 unchanged" in capsys.readouterr().out
    assert vitrina(*embed, "--table", "goods", "--query", "goods") == 2
    assert vitrina("index", store) == 0
    assert vitrina("train", store, "--head", "logistic") == 0
    capsys.readouterr()
    query = "select product_id, text_fields from goods limit 7"
    classify = ["classify", url, "--query", query, "--store", store, "--out", url]
    assert vitrina(*classify) == 2
    assert "--table must name the table to write" in capsys.readouterr().err
    assert vitrina(*classify, "--table", "shop.predictions", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["products"] == 7
    assert report["out"] == "the table shop.predictions of postgresql://app@/postgres"
    rows = server.execute("SELECT count(predicted_category_id), count(title) FROM shop.predictions")
    assert rows == [(7, 7)]
    assert vitrina(*classify, "--table", "shop.predictions") == 1
    out = tmp_path / "near.csv"
    ids = ["--query", "select product_id from goods limit 3"]
    assert vitrina("neighbours", store, "--queries", url, *ids, "--out", out, "-k", 2) == 0
    assert len(out.read_text(encoding="utf-8-sig").splitlines()) == 7
    secrets = (PASSWORD.encode(), QUOTED.encode())
    for file in store.rglob("*"):
        assert not file.is_file() or not any(one in file.read_bytes() for one in secrets)
    captured = capsys.readouterr()
    assert not any(one.decode() in captured.out + captured.err for one in secrets)


def test_a_table_of_methods_over_a_database(sample, tmp_path, capsys):
    table = pq.read_table(sample.train, columns=["product_id", "text_fields", "category_id"])
    rows = list(zip(*table.to_pydict().values(), strict=True))
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE goods (product_id, text_fields, category_id)")
        connection.executemany("INSERT INTO goods VALUES (?, ?, ?)", rows)
    connection.close()
    url, out = f"sqlite:///{tmp_path}/shop.db", tmp_path / "bench"
    lexical = ("--text-model", "lexical", "--image-model", "none", "--methods", "naive-bayes")
    given = ("benchmark", url, "--query", "goods", "--out", out, *lexical)
    assert vitrina(*given) == 0
    assert "done: 1 methods" in capsys.readouterr().out
    assert vitrina("benchmark", url, "--out", out, *lexical) == 1
    assert "there are goods" in capsys.readouterr().err


def test_texts_of_a_database_beside_a_store(sqlite, tmp_path):
    from vitrina.data.options import ReadingOptions
    from vitrina.pipelines.common.reading import opened_texts
    from vitrina.store.store import OpenStore

    store = OpenStore.open(tmp_path / "shelf", create=True)
    given = ReadingOptions(query="select product_id, title from products where product_id > 3990")
    with opened_texts(store, [sqlite], given) as (catalogue,):
        assert str(catalogue.path) == sqlite
        assert [one.title for one in catalogue][:1] == ["Кружка 3991"]
