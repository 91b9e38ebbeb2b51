# The command line on CPUs, as a user without rights; nothing is fetched when it runs.
#   docker build --tag vitrina .
#   docker run --rm --network none vitrina demo
#   docker run --rm --volume "$PWD:/work" vitrina embed train.parquet --store shelf
# The user has the number 1000; for another one add --user "$(id -u):$(id -g)" and folders that it may write to:
#   --env VITRINA_CACHE=/work/.cache/vitrina --env HF_HOME=/work/.cache/huggingface
# Keep models and caches between runs with --volume vitrina-cache:/cache
FROM python:3.12-slim-bookworm AS build

# The CPU build of torch is some 4 GB smaller than PyPI's, which brings CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY requirements.lock ./
RUN python -m venv /opt/vitrina \
    && sed -n 's/^\(torch\|torchvision\)==\([0-9.]*\).*/\1==\2/p' requirements.lock > torch.txt \
    && /opt/vitrina/bin/pip install --index-url "$TORCH_INDEX" --requirement torch.txt
COPY pyproject.toml README.md LICENSE ./
COPY vitrina ./vitrina
# The locked versions without the hashes: those of torch are of PyPI's builds.
RUN sed -n 's/^\([A-Za-z0-9_.-]*==.*[^ ]\) *\\$/\1/p' requirements.lock | grep -v '^torch' > constraints.txt \
    && /opt/vitrina/bin/pip install --constraint constraints.txt '.[heic,jxl,onnx,postgresql,s3]'

FROM python:3.12-slim-bookworm
RUN useradd --create-home --uid 1000 vitrina \
    && install --directory --owner vitrina --group vitrina /work /cache
COPY --from=build /opt/vitrina /opt/vitrina
ENV PATH=/opt/vitrina/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VITRINA_CACHE=/cache/vitrina \
    HF_HOME=/cache/huggingface
USER vitrina
WORKDIR /work
VOLUME ["/work", "/cache"]
EXPOSE 8765
ENTRYPOINT ["vitrina"]
CMD ["--help"]
