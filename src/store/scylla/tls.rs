//! TLS to the servers, where the program was built with it (the feature `cql-tls`, on by default).
//!
//! Certificates are always checked: against the authorities of `cql-ca`, and against the IP address that a server is
//! reached at, since that is all a driver knows of a cluster's members. Where certificates hold names in place of
//! addresses, `cql-server-name` says the one that all of them hold. The provider is `ring`, as for NATS and Redis.

use scylla::client::session_builder::SessionBuilder;

use super::ScyllaOptions;
use crate::store::{Error, Result};

/// Encrypts the session's connections.
#[cfg(not(feature = "cql-tls"))]
pub(super) fn encrypt(builder: SessionBuilder, options: &ScyllaOptions) -> Result<SessionBuilder> {
    match options.tls {
        None => Ok(builder),
        Some(_) => Err(Error::Refused(
            "this program was built without TLS to a CQL server: build it with --features cql-tls, or leave cql-ca out"
                .into(),
        )),
    }
}

/// Encrypts the session's connections, if the options say so. Reads files, so it blocks on the disk.
#[cfg(feature = "cql-tls")]
pub(super) fn encrypt(builder: SessionBuilder, options: &ScyllaOptions) -> Result<SessionBuilder> {
    let Some(files) = &options.tls else {
        return Ok(builder);
    };
    let config = rustls_config::of(files, options.tls_name.as_deref())
        .map_err(|why| Error::Refused(format!("TLS to the store: {why}")))?;
    Ok(builder.tls_context(Some(std::sync::Arc::new(config))))
}

/// What a failed connection most likely means, where encryption has a part in it.
pub(super) fn advice(options: &ScyllaOptions, error: &str) -> &'static str {
    let said = |parts: &[&str]| parts.iter().any(|part| error.contains(part));
    let Some(files) = &options.tls else {
        // What a server that expects TLS makes of a plain request: it closes, or answers with an alert, whose first
        // byte is no version of CQL's.
        return if said(&[
            "Connection reset",
            "end of file",
            "eof",
            "broken",
            "Broken",
            "closed",
            "header",
        ]) {
            "; if this port wants TLS, give cql-ca"
        } else {
            ""
        };
    };
    if said(&["UnknownIssuer", "BadSignature"]) {
        "; the server's certificate was not issued by an authority of cql-ca"
    } else if said(&["NotValidForName", "not valid for name"]) {
        "; the server's certificate does not hold the address that it was reached at: issue one that does, or give \
         cql-server-name with a name that the certificates hold"
    } else if said(&["CertificateRequired", "HandshakeFailure", "BadCertificate"]) {
        "; the server wants a certificate of this node that it believes: give cql-cert and cql-key"
    } else if said(&["InvalidContentType", "corrupt message"]) {
        "; this port does not speak TLS: leave cql-ca out, or name the port that does"
    } else if files.certificate.is_none() && said(&["broken", "Connection reset"]) {
        // With TLS 1.3 a server refuses a client after the client takes the connection for made.
        "; if the server asks for certificates, give cql-cert and cql-key"
    } else if said(&["no answer in time"]) {
        "; see whether this port speaks TLS, and whether the server is well"
    } else {
        ""
    }
}

#[cfg(feature = "cql-tls")]
mod rustls_config {
    use std::path::Path;
    use std::sync::Arc;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

    use crate::config::TlsFiles;

    /// Checks certificates as usual, but against one name that all servers share.
    #[derive(Debug)]
    struct Named {
        usual: Arc<WebPkiServerVerifier>,
        name: ServerName<'static>,
    }

    impl ServerCertVerifier for Named {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            _address: &ServerName<'_>,
            ocsp_response: &[u8],
            now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            let usual = &self.usual;
            usual.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.usual.verify_tls12_signature(message, certificate, signed)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.usual.verify_tls13_signature(message, certificate, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.usual.supported_verify_schemes()
        }
    }

    fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let found: Vec<_> = read.map_err(|error| format!("{}: {error}", path.display()))?;
        if found.is_empty() {
            return Err(format!("{} holds no certificate in PEM form", path.display()));
        }
        Ok(found)
    }

    fn roots(files: &TlsFiles) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let authorities = match &files.ca {
            Some(path) => certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let (good, _) = roots.add_parsable_certificates(authorities);
        if good == 0 {
            return Err("no certificate authority can be believed: give cql-ca".into());
        }
        Ok(roots)
    }

    /// The client's side of every connection.
    pub(super) fn of(files: &TlsFiles, name: Option<&str>) -> Result<ClientConfig, String> {
        // The provider is named, so that it does not matter how many the program holds.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(files)?), Arc::clone(&provider))
            .build()
            .map_err(|error| error.to_string())?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match name {
            None => builder.with_webpki_verifier(verifier),
            Some(name) => {
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|_| format!("cql-server-name is \"{name}\", which no certificate can hold"))?;
                let named = Named { usual: verifier, name };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(named))
            }
        };
        match &files.certificate {
            None => Ok(builder.with_no_client_auth()),
            Some((certificate, key)) => {
                let own = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, own)
                    .map_err(|error| format!("{} with {}: {error}", certificate.display(), key.display()))
            }
        }
    }
}

#[cfg(all(test, feature = "cql-tls"))]
mod tests {
    use crate::config::TlsFiles;

    use super::rustls_config::of;

    #[test]
    fn what_is_wrong_with_a_file_or_a_name_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let with = |ca: &str| TlsFiles {
            ca: Some(folder.path().join(ca)),
            certificate: None,
        };
        let missing = of(&with("missing.pem"), None).unwrap_err();
        assert!(missing.contains("missing.pem"), "{missing}");
        std::fs::write(folder.path().join("empty.pem"), "nothing").unwrap();
        let empty = of(&with("empty.pem"), None).unwrap_err();
        assert!(empty.ends_with("empty.pem holds no certificate in PEM form"), "{empty}");

        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(vec!["localhost".into()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        std::fs::write(folder.path().join("ca.pem"), own.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        of(&with("ca.pem"), None).unwrap();
        of(&with("ca.pem"), Some("db.example.org")).unwrap();
        let named = of(&with("ca.pem"), Some("no name")).unwrap_err();
        assert!(named.contains("cql-server-name is \"no name\""), "{named}");
        let files = |key: &str| TlsFiles {
            certificate: Some((folder.path().join("ca.pem"), folder.path().join(key))),
            ..with("ca.pem")
        };
        of(&files("key.pem"), None).unwrap();
        let no_key = of(&files("ca.pem"), None).unwrap_err();
        assert!(no_key.contains("ca.pem"), "{no_key}");
        let other = rcgen::KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("other.pem"), other.serialize_pem()).unwrap();
        let no_pair = of(&files("other.pem"), None).unwrap_err();
        assert!(no_pair.contains("other.pem"), "{no_pair}");
    }
}
