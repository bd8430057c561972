//! Addresses as people write them, and that nothing prints their secrets.

use super::*;

fn servers(servers: &[Server]) -> Vec<String> {
    servers.iter().map(Server::to_string).collect()
}

#[test]
fn nats_addresses_are_read() {
    let address = nats("nats://ann:s%40crt@n1,nats://ann:s%40crt@n2:5222").unwrap();
    assert_eq!(servers(&address.servers), ["n1:4222", "n2:5222"]);
    assert_eq!(
        address.auth,
        NatsAuth::Password("ann".to_owned(), Secret("s@crt".to_owned()))
    );
    assert!(!address.tls && nats("tls://n1,n2,n3").unwrap().tls);
    assert_eq!(
        nats("nats://tok@n1").unwrap().auth,
        NatsAuth::Token(Secret("tok".to_owned()))
    );
    assert_eq!(servers(&nats("nats://[::1]:9").unwrap().servers), ["[::1]:9"]);
    for bad in [
        "nats://",
        "nats://n1/x",
        "nats://n1:0",
        "nats://n 1",
        "nats://[::1",
        "nats://n1?x=1",
        "nats://%zz@n1",
        "nats://a:b@n1,nats://c:d@n2",
    ] {
        assert!(nats(bad).is_err(), "{bad}");
    }
}

#[test]
fn cql_addresses_are_read() {
    let address = cql("scylla://u:p/w@db1,db2:9043/natter_1").unwrap();
    assert_eq!(servers(&address.servers), ["db1:9042", "db2:9043"]);
    assert_eq!(address.keyspace, "natter_1");
    assert_eq!(address.credentials.user.as_deref(), Some("u"));
    assert_eq!(address.credentials.password, Some(Secret("p/w".to_owned())));
    let missing = cql("cassandra://u:geheim@db1").unwrap_err();
    assert_eq!(missing, wrong(CQL, Some("cassandra://u:***@db1/natter".to_owned())));
    for bad in [
        "scylla://db1/Natter",
        "scylla://db1/1x",
        "scylla://db1/a/b",
        "scylla:///natter",
    ] {
        assert!(cql(bad).is_err(), "{bad}");
    }
}

#[test]
fn redis_addresses_are_read() {
    let address = redis("rediss://:pw@r1/3").unwrap();
    assert_eq!(
        (servers(&address.servers), address.database),
        (vec!["r1:6379".to_owned()], 3)
    );
    assert_eq!(address.credentials.user, None);
    assert_eq!(address.credentials.password, Some(Secret("pw".to_owned())));
    assert!(address.tls.is_some());
    let address = redis("redis+sentinel://s1,s2:7/mymaster/2").unwrap();
    assert_eq!(servers(&address.servers), ["s1:26379", "s2:7"]);
    assert_eq!(address.kind, RedisKind::Sentinel("mymaster".to_owned()));
    assert_eq!(address.database, 2);
    assert_eq!(redis("redis+cluster://c1,c2").unwrap().kind, RedisKind::Cluster);
    for bad in [
        "redis://a,b",
        "redis://a/x",
        "redis+sentinel://a",
        "redis+cluster://a/1",
        "redis+other://a",
        "redis:a",
    ] {
        assert!(redis(bad).is_err(), "{bad}");
    }
}

#[test]
fn nothing_prints_a_secret() {
    let texts = [
        format!("{:?}", nats("nats://u:geheim@n").unwrap()),
        format!("{:?}", nats("nats://geheim@n").unwrap()),
        format!("{:?}", cql("scylla://u:geheim@n/k").unwrap()),
        format!("{:?}", redis("redis://:geheim@n").unwrap()),
        format!("{:?}", cql("scylla://u:geheim@n").unwrap_err()),
    ];
    assert!(texts.iter().all(|text| !text.contains("geheim")), "{texts:?}");
}
