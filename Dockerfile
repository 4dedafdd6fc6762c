# The worker and nothing that it does not need at run time. `scripts/image` builds it: the wheels of
# build/wheels come from there, since neither compiler nor registry is to be had inside.
#
# BASE is any image with glibc and the Python that the wheels were fetched for.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
LABEL iexworker.image="build"
COPY build/wheels /wheels
# Sources, type stubs and test suites that wheels carry along are never read at run time; nor are
# the dependencies' own command lines.
RUN python3 -m venv --without-pip /opt/iexworker \
    && PYTHONPATH=$(echo /wheels/pip-*.whl) python3 -m pip --python /opt/iexworker/bin/python \
        install --quiet --no-index --find-links /wheels --no-cache-dir iexworker \
    && cd /opt/iexworker \
    && find lib -name '*.py[xi]' -delete -o -name '*.pxd' -delete -o -name '*.[ch]' -delete \
    && find lib -depth -type d \( -name SelfTest -o -name tests \) -exec rm -r {} + \
    && find bin -type f ! -name iexworker ! -name 'python*' -delete

FROM ${BASE}
ARG VERSION=unknown
LABEL iexworker.image="worker" \
    org.opencontainers.image.title="iexworker" \
    org.opencontainers.image.description="A compute-node daemon for iExec workerpools" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/iexworker /opt/iexworker
ENV PATH=/opt/iexworker/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
EXPOSE 13100
# Liveness, not readiness: a restart mends no scheduler and no chain node.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["iexworker", "healthcheck"]
# Root, as the files that apps leave in the task folders are root's, and as whoever may use the
# Docker socket is root of the host anyway. The worker is PID 1 and reaps what is orphaned.
ENTRYPOINT ["iexworker"]
CMD ["run"]
