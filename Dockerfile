# The three programs on a small Debian without Swift, run by a user of their own. One image; the command selects the
# program: `fcgi-api serve`, `ws-relay serve` or `queue-worker serve`. Settings come from the environment, see .env.example.

FROM docker.io/library/swift:6.3-bookworm AS build
RUN apt-get -q update && apt-get -q -y --no-install-recommends install \
        libpq-dev libhiredis-dev librabbitmq-dev libcurl4-openssl-dev libfcgi-dev libmagic-dev libssl-dev zlib1g-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
# The same path as in the package build: SwiftPM stores it in the programs.
WORKDIR /usr/src/chat-server
COPY Package.swift ./
COPY Sources Sources
# Package.swift names the tests' folders, but the build does not read them.
COPY Tests Tests
RUN swift build -c release --static-swift-stdlib --product fcgi-api \
    && swift build -c release --static-swift-stdlib --product ws-relay \
    && swift build -c release --static-swift-stdlib --product queue-worker \
    && mkdir /programs && cd .build/release && cp fcgi-api ws-relay queue-worker /programs/ && strip /programs/*

FROM docker.io/library/debian:bookworm-slim AS base
# The libraries that the programs load, and the programs that inspect pictures and videos.
RUN apt-get -q update && apt-get -q -y --no-install-recommends install \
        ca-certificates libpq5 libhiredis0.14 librabbitmq4 libcurl4 libfcgi0ldbl libmagic1 libstdc++6 zlib1g \
        libvips-tools libimage-exiftool-perl ffmpeg \
    && rm -rf /var/lib/apt/lists/*
# The ids are fixed: nginx, in its own container, is added to the group to reach the sockets.
RUN groupadd --system --gid 7070 chat && useradd --system --uid 7070 --gid chat --home-dir /var/lib/chat --create-home chat \
    && install -d -m 0711 -o chat -g chat /run/chat /var/lib/chat/files
COPY Migrations /usr/share/chat/migrations
COPY docs/openapi.yaml docs/asyncapi.yaml docs/index.html /usr/share/chat/docs/

FROM base
COPY --from=build /programs/ /usr/bin/
USER chat
# /run/chat: the sockets that nginx connects to, shared by the containers of one machine.
VOLUME ["/run/chat", "/var/lib/chat"]
ENV RUN_DIR=/run/chat SOCKET_MODE=0666
STOPSIGNAL SIGTERM
CMD ["fcgi-api", "serve"]
