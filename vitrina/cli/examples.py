"""Examples at the end of each command's help."""

EXAMPLES = {
    "demo": (
        "vitrina demo",
        "vitrina demo --products 300 --catalogue-only --out sample",
    ),
    "models": ("vitrina models", "vitrina models --modality text --json"),
    "embed": (
        "vitrina embed train.parquet --store shelf --images images.zip",
        "vitrina embed goods.csv --store shelf --id-column sku --title-column name --images none",
        "vitrina embed feed.xml --store shelf --images web --source shop.example --prune",
    ),
    "index": (
        "vitrina index shelf",
        "vitrina index shelf --features text --recall 0.95 --memory 4GB",
    ),
    "train": (
        "vitrina train shelf",
        "vitrina train shelf --head logistic --features text --precision 0.99",
        "vitrina train shelf --compare --name best",
    ),
    "classify": (
        "vitrina classify new.parquet --store shelf --out predictions.parquet",
        "vitrina classify test.parquet --store shelf --out answer.csv --format submission",
    ),
    "neighbours": (
        "vitrina neighbours shelf --text 'красная кружка' -k 5",
        "vitrina neighbours shelf --product 1937 --no-duplicates --where 'price<=1000'",
        "vitrina neighbours shelf --queries new.parquet --out near.parquet",
    ),
    "info": ("vitrina info shelf", "vitrina info shelf --json"),
    "pretrain": (
        "vitrina pretrain shelf --epochs 3 --name ours",
        "vitrina pretrain shelf --model rubert-tiny2 --also names.parquet --name ours",
    ),
    "finetune": (
        "vitrina finetune shelf --modality text --name ours-tuned",
        "vitrina finetune shelf --modality image --image-size 112 --name photos-tuned",
        "vitrina embed train.parquet --store shelf --text-model ours-tuned",
    ),
    "benchmark": (
        "vitrina benchmark train.parquet --images images.zip --out results",
        "vitrina benchmark --store shelf --methods naive-bayes,linear-svm,text-tuned",
    ),
    "audit": (
        "vitrina audit shelf --out report.html",
        "vitrina audit shelf --features text --folds 10 --max-suspects 500",
    ),
    "review": (
        "vitrina review shelf --reviewer Anna",
        "vitrina review shelf --host 192.168.1.20 --port 8800",
    ),
    "decisions": (
        "vitrina decisions shelf --export corrected.csv --changed-only",
        "vitrina decisions shelf --import label-studio.json",
    ),
    "verify": ("vitrina verify shelf", "vitrina verify shelf --repair"),
    "convert-model": (
        "vitrina convert-model rubert-base",
        "vitrina convert-model rubert-base --out rubert-base-safe",
    ),
    "export-model": (
        "vitrina export-model shelf text-tuned --to text-encoder",
        "vitrina export-model shelf mlp --to head",
    ),
    "work": (
        "vitrina work s3://catalogue/shelf --part 3/16",
        "vitrina work shelf --text-model /models/e5-small --images /data/photos",
    ),
    "compact": ("vitrina compact shelf", "vitrina compact shelf --keep 1"),
    "cache": ("vitrina cache", "vitrina cache --clear"),
}
"""Two or three lines for each command, as a user would type them."""
