# The workbench in a container; what it makes lies in the volume /work.
#   docker build -t uda4inst .                           # for processors
#   docker build -t uda4inst --build-arg DEVICE=cu130 .  # for NVIDIA GPUs: an index of PyTorch's builds
#   docker run -it -p 127.0.0.1:7860:7860 -v "$PWD/work:/work" uda4inst   # asks for a password
#   docker run --gpus all ... uda4inst train toystreets_smoke             # any command
# docs/howto/install.md has more, and what was tried.
FROM python:3.11-slim-bookworm

# cpu, or a CUDA version as https://download.pytorch.org/whl has them
ARG DEVICE=cpu
ARG EXTRAS=workbench,inspection
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HF_HOME=/work/.cache/huggingface

# libcurl: FiftyOne's database; git: the commit that every run records
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git libcurl4 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/uda4inst
COPY . .
RUN python install.py --venv /opt/venv --extras "$EXTRAS" \
      --torch "$(grep ^torch== constraints-torch.txt) --index-url https://download.pytorch.org/whl/$DEVICE" \
 && rm -rf /root/.cache

RUN useradd --create-home researcher && mkdir /work && chown researcher /work \
 && git config --system --add safe.directory /opt/uda4inst
USER researcher
WORKDIR /work
VOLUME /work
# the workbench; FiftyOne
EXPOSE 7860 5151
ENTRYPOINT ["uda4inst"]
CMD ["app", "--host", "0.0.0.0"]
