"""YML feeds for tests: written to a file, and read back with all that the reader says of them."""

from dataclasses import dataclass, field

from support.catalogue_files import all_rows
from vitrina.data.catalogue import Catalogue

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass
class Read:
    """What came of a feed. `titles` by product id, `reasons` of the rows that were rejected."""

    titles: dict
    reasons: list
    repairs: dict
    notes: list
    products: list = field(repr=False)

    @property
    def ids(self):
        return list(self.titles)


def offer(product_id, name="чашка синяя", inside="", attributes=""):
    return (
        f'<offer id="{product_id}"{attributes}><name>{name}</name>'
        f"<categoryId>1</categoryId>{inside}</offer>"
    )


def feed(*offers, head=DECLARATION, categories='<category id="1">Чашки</category>', tail=""):
    body = "\n".join(offers)
    return (
        f'{head}<yml_catalog date="2024-05-01 12:00"><shop><name>Лавка</name><categories>'
        f"{categories}</categories>\n<offers>\n{body}\n</offers></shop></yml_catalog>\n{tail}"
    )


def read(tmp_path, content, encoding=None):
    path = tmp_path / "feed.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    catalogue = Catalogue.read(path, encoding=encoding)
    products, rejected = all_rows(catalogue, size=3)
    return Read(
        titles={product.product_id: product.title for product in products},
        reasons=[rejection.reason for rejection in rejected],
        repairs={str(kind): count for kind, count in catalogue.repairs.items()},
        notes=list(catalogue.notes),
        products=products,
    )
