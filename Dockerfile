# The simulator on processors, without graphics cards:
#   docker build -t aimc-sim .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" aimc-sim run --out results
# On Linux torch of the Python Package Index brings CUDA libraries, gigabytes. The address of an index
# that has torch for processors: --build-arg PIP_EXTRA_INDEX_URL=ADDRESS
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 MPLBACKEND=Agg
# Compiled kernels, also for a user that has no home folder in the image.
ENV NUMBA_CACHE_DIR=/var/cache/aimc-sim MPLCONFIGDIR=/tmp/matplotlib

ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY aimc_sim aimc_sim
COPY device_data device_data
COPY examples examples
RUN pip install -c constraints.txt .

RUN useradd --create-home --uid 1000 aimc && mkdir -m 1777 /var/cache/aimc-sim && mkdir -m 1777 /work
USER aimc
WORKDIR /work
# Compiles what the main job needs; another processor than this one compiles anew. Users with other
# numbers than this one's (docker run --user) read and write there, too.
RUN aimc-sim run --images 2 --programmings 1 --times 0 --out /tmp/first && \
    rm -rf /tmp/first "$MPLCONFIGDIR" && chmod -R a+rwX "$NUMBA_CACHE_DIR"/*

ENTRYPOINT ["aimc-sim"]
CMD ["--help"]
