"""What serves ext_proc, as the settings say: which transport, with which certificate."""

from headway_router.certificates import CertificateFiles, Certificates
from headway_router.health import Health
from headway_router.metrics import Metrics
from headway_router.settings import Settings
from headway_router.transport import Service, Transport
from headway_router.transport.grpc_aio import GrpcAioTransport
from headway_router.transport.h2.server import H2Transport, limits_for


def certificates_for(settings: Settings, metrics: Metrics) -> Certificates | None:
    """None: without TLS.  Raises: BadCertificate."""
    if not settings.secure_serving:
        return None
    paths = settings.certificate_paths
    files = CertificateFiles(*paths) if paths else None
    return Certificates(files, host=settings.host, metrics=metrics)


def transport_for(
    settings: Settings, service: Service, health: Health, certificates: Certificates | None
) -> Transport:
    host, port, body_bytes = settings.host, settings.grpc_port, settings.max_body_bytes
    if settings.transport == "h2":
        return H2Transport(
            service,
            health,
            host=host,
            port=port,
            limits=limits_for(body_bytes),
            tls=certificates.context if certificates else None,
        )
    return GrpcAioTransport(
        service,
        health,
        host=host,
        port=port,
        max_body_bytes=body_bytes,
        key_pair=certificates.pair if certificates else None,
    )
