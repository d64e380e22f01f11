# syntax=docker/dockerfile:1
# The image of deploy/. For all architectures that Debian's image has:
#
#   docker buildx build --platform linux/amd64,linux/arm64,linux/arm/v7,linux/ppc64le,linux/s390x \
#     --build-arg VERSION=$(git describe --tags --always) --sbom=true --provenance=true -t REGISTRY/kube-proxier .
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=development TARGETARCH TARGETVARIANT
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/build \
    CGO_ENABLED=0 GOCACHE=/go/build GOOS=linux GOARCH=$TARGETARCH GOARM=${TARGETVARIANT#v} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$VERSION" \
    -o /out/kube-proxier ./cmd/kube-proxier && ln -s kube-proxier /out/kube-proxy

FROM debian:bookworm-slim
# Both variants of iptables; which one a node uses is found out at the start.
# kmod is for iptables-legacy, which loads its modules by itself.
RUN apt-get update && apt-get install -y --no-install-recommends iptables kmod \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
# kube-proxy is there for manifests that were written for it.
COPY --from=build /out/ /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/kube-proxier"]
