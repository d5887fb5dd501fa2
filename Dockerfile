# Dragoman's pipeline. Targets: cpu (the default) and gpu (a CUDA 12 host; build with --target gpu).
#   docker build -t dragoman .
#   docker build -t dragoman:gpu --target gpu .

FROM maven:3.9-eclipse-temurin-17 AS build-cpu
WORKDIR /build
COPY pom.xml ./
COPY .mvn .mvn
COPY schemas schemas
COPY pipeline pipeline
RUN mvn -B -q --no-transfer-progress -DskipTests package

FROM build-cpu AS build-gpu
RUN mvn -B -q --no-transfer-progress -DskipTests -Pgpu clean package

FROM nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04 AS gpu
RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build-gpu /build/pipeline/target/dragoman-pipeline-0.1.0.jar /opt/dragoman/pipeline/target/
COPY --from=build-gpu /build/pipeline/target/lib /opt/dragoman/pipeline/target/lib
COPY bin/dragoman /opt/dragoman/bin/dragoman
COPY model-export/bundles /opt/dragoman/model-export/bundles
RUN useradd --uid 10001 --create-home dragoman && install -d -o dragoman /var/lib/dragoman
USER 10001
VOLUME /var/lib/dragoman
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD test -n "$(find /tmp/dragoman.healthy -mmin -1)"
ENTRYPOINT ["/opt/dragoman/bin/dragoman"]
CMD ["run", "--config", "/etc/dragoman/dragoman.properties", "--health-file", "/tmp/dragoman.healthy"]

FROM eclipse-temurin:17-jre AS cpu
COPY --from=build-cpu /build/pipeline/target/dragoman-pipeline-0.1.0.jar /opt/dragoman/pipeline/target/
COPY --from=build-cpu /build/pipeline/target/lib /opt/dragoman/pipeline/target/lib
COPY bin/dragoman /opt/dragoman/bin/dragoman
COPY model-export/bundles /opt/dragoman/model-export/bundles
RUN useradd --uid 10001 --create-home dragoman && install -d -o dragoman /var/lib/dragoman
USER 10001
VOLUME /var/lib/dragoman
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD test -n "$(find /tmp/dragoman.healthy -mmin -1)"
ENTRYPOINT ["/opt/dragoman/bin/dragoman"]
CMD ["run", "--config", "/etc/dragoman/dragoman.properties", "--health-file", "/tmp/dragoman.healthy"]
