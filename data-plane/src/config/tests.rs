use super::*;

const GOOD: &str = r#"socket = "/run/culvert/data.sock"
workers = [0, 1]
idle = "spin"

[[port]]
name = "net_af_packet0"
role = "protected"
addresses = ["10.1.0.1/24"]

[[port]]
name = "net_af_packet1"
role = "unprotected"
addresses = ["192.0.2.1/24"]
mtu = 1400

[[route]]
prefix = "0.0.0.0/0"
via = "192.0.2.254"

[[neighbor]]
address = "10.1.0.9"
mac = "02:00:00:00:00:0a"

[sad]
slots = 1024
first_generation = 4095

[icmp]
errors_per_second = 50
path_mtu = false

[tcp]
clamp_mss = false

[spd]
slots = 100000
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("data.toml"), text)
}

#[test]
fn a_good_file_is_read_whole() {
    let config = parse(GOOD).unwrap();
    assert_eq!((config.workers.as_slice(), config.idle, config.sad_slots), (&[0, 1][..], Idle::Spin, 1024));
    assert_eq!(config.policy_slots, 100_000);
    assert_eq!((config.icmp_errors_per_second, config.learn_path_mtu, config.clamp_mss), (50, false, false));
    assert_eq!((config.ports[0].mtu, config.ports[1].mtu), (1500, 1400));
    assert_eq!(config.ports[1].role, Role::Unprotected);
    let default = Route { destination: [0; 4].into(), prefix_len: 0, via: "192.0.2.254".parse().unwrap(), port: PortId(1) };
    assert_eq!(config.routes, [default]);
    let static_one = Neighbor { address: "10.1.0.9".parse().unwrap(), mac: MacAddress([2, 0, 0, 0, 0, 10]), port: PortId(0) };
    assert_eq!(config.neighbors, [static_one]);
    assert_eq!(config.first_generation, Some(4095));
}

/// What the README tells a new user to write.
#[test]
fn the_configuration_of_the_readme_is_good() {
    const README: &str = include_str!("../../../README.md");
    let block = README.split("```toml\n").find(|block| block.trim_start().starts_with("socket =")).unwrap();
    let (text, _) = block.split_once("```").unwrap();
    let config = parse(text).unwrap();
    assert_eq!((config.ports.len(), config.idle), (2, Idle::Spin));
    assert!(config.learn_path_mtu && config.clamp_mss && config.receive_burst == 32);
}

#[test]
fn the_example_is_valid() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("culvert-data.example.toml");
    let config = Config::load(&example).unwrap();
    assert_eq!(config.ports.len(), 2);
    assert_eq!(config.routes.len(), 2);
}

#[test]
fn each_fault_is_named_with_line_and_remedy() {
    let cases = [
        ("\"/run/culvert/data.sock\"", "\"data.sock\"", "data.toml:1: socket: must be an absolute path"),
        ("[0, 1]", "[]", "data.toml:2: workers: name 1 to 64 cores"),
        ("[0, 1]", "[0, 0]", "data.toml:2: workers[1]: this core has a worker already"),
        ("[0, 1]", "[0, 4096]", "data.toml:2: workers[1]: no core"),
        ("\"spin\"", "\"fast\"", "data.toml:3: idle: unknown variant `fast`, expected `spin` or `adaptive`"),
        ("idle", "receive_burst = 0\nidle", "data.toml:3: receive_burst: must lie between 1 and 32"),
        ("idle", "receive_burst = 33\nidle", "data.toml:3: receive_burst: must lie between 1 and 32"),
        ("idle", "idel", "data.toml:3: idel: unknown field `idel`, expected one of"),
        ("net_af_packet0", "net_af_packet0,iface=v0", "data.toml:6: port[0].name: must be the name of a device, without arguments"),
        ("net_af_packet1", "net_af_packet0", "data.toml:11: port[1].name: this device has a port already"),
        ("\"protected\"", "\"inside\"", "data.toml:7: role: unknown variant `inside`"),
        ("10.1.0.1/24", "10.1.0.1", "data.toml:8: port[0].addresses[0]: '10.1.0.1' is no address with prefix: write 192.0.2.1/24"),
        ("10.1.0.1/24", "10.1.0.255/24", "data.toml:8: port[0].addresses[0]: 10.1.0.255 is the network or broadcast"),
        ("10.1.0.1/24", "fd00::/64", "data.toml:8: port[0].addresses[0]: fd00:: is the routers' anycast address of its subnet: write a"),
        ("10.1.0.1/24", "fd00::1/129", "data.toml:8: port[0].addresses[0]: 'fd00::1/129' is no address with prefix"),
        ("10.1.0.1/24", "ff02::1/64", "data.toml:8: port[0].addresses[0]: ff02::1 cannot be an address of a port"),
        ("10.1.0.1/24", "::ffff:10.1.0.1/120", "data.toml:8: port[0].addresses[0]: ::ffff:10.1.0.1 cannot be an address of a port"),
        ("10.1.0.1/24", "fe80::1/10", "data.toml:8: port[0].addresses[0]: link-local addresses have prefixes of 64: write fe80::1/64"),
        ("192.0.2.1/24", "fe80::1/64", "data.toml:13: port[1].addresses: an unprotected port needs an address that is not link-local"),
        ("192.0.2.1/24\"]\nmtu = 1400", "2001:db8::1/64\"]\nmtu = 1279", "data.toml:14: port[1].mtu: IPv6 needs 1280 at least"),
        ("\"192.0.2.254\"", "\"fe80::2\"", "data.toml:18: route[0].via: fe80::2 is link-local, and may be behind any port: add port = \""),
        ("\"192.0.2.254\"", "\"192.0.2.254\"\nport = \"eth7\"", "data.toml:19: route[0].port: no port is called 'eth7': write its name"),
        ("\"192.0.2.254\"", "\"192.0.2.254\"\nport = \"net_af_packet0\"", "data.toml:18: route[0].via: 192.0.2.254 is not on that port's"),
        ("0.0.0.0/0", "::/0", "data.toml:18: route[0].via: 192.0.2.254 is of the other address family than ::/0"),
        ("0.0.0.0/0", "fe80::/64", "data.toml:17: route[0].prefix: neither link-local nor multicast packets are routed"),
        ("192.0.2.1/24", "10.1.0.1/8", "data.toml:13: port[1].addresses[0]: 10.1.0.1 stands on another port"),
        ("addresses = [\"192.0.2.1/24\"]\n", "", "data.toml:11: port[1].addresses: an unprotected port needs an address"),
        ("1400", "575", "data.toml:14: port[1].mtu: must lie between 576 and 9000"),
        ("1400", "9001", "data.toml:14: port[1].mtu: must lie between 576 and 9000"),
        ("0.0.0.0/0", "10.9.9.9/8", "data.toml:17: route[0].prefix: host bits are set: write 10.0.0.0/8"),
        ("192.0.2.254", "198.51.100.1", "data.toml:18: route[0].via: 198.51.100.1 is on no port's subnet"),
        ("192.0.2.254", "192.0.2.1", "data.toml:18: route[0].via: 192.0.2.1 is this gateway itself"),
        ("1024", "0", "data.toml:25: sad.slots: must lie between 1 and 1048576"),
        ("= 100000", "= 1048577", "data.toml:36: spd.slots: must lie between 1 and 1048576"),
        ("1024", "\"many\"", "data.toml:25: slots: invalid type"),
        ("10.1.0.9", "10.2.0.9", "data.toml:21: neighbor[0].address: 10.2.0.9 is on no port's subnet"),
        ("10.1.0.9", "10.1.0.1", "data.toml:21: neighbor[0].address: 10.1.0.1 is this gateway itself"),
        ("02:00:00:00:00:0a", "03:00:00:00:00:0a", "data.toml:22: neighbor[0].mac: '03:00:00:00:00:0a' is no MAC address of one host"),
        ("02:00:00:00:00:0a", "2:00:00:00:00:0a", "data.toml:22: neighbor[0].mac:"),
        ("02:00:00:00:00:0a", "02:00:00:00:00", "data.toml:22: neighbor[0].mac:"),
        ("4095", "4096", "data.toml:26: sad.first_generation: must lie between 1 and 4095"),
        ("4095", "0", "data.toml:26: sad.first_generation: must lie between 1 and 4095"),
        ("= 50", "= 100001", "data.toml:29: icmp.errors_per_second: must lie between 0, for no ICMP errors, and 100000"),
        ("[sad]", "[sad", "data.toml:24:"),
    ];
    for (good, bad, message) in cases {
        let text = GOOD.replacen(good, bad, 1);
        assert_ne!(text, GOOD, "{good}");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}\nexpected {message}");
    }
}

#[test]
fn a_kernel_is_one_that_the_cpu_runs() {
    let with = |kernel: &str| parse(&format!("kernel = \"{kernel}\"\n{GOOD}"));
    assert_eq!(parse(GOOD).unwrap().kernel, Kernel::best());
    assert_eq!(with("auto").unwrap().kernel, Kernel::best());
    for kernel in Kernel::ALL {
        match with(&kernel.to_string()) {
            Ok(config) => assert_eq!(config.kernel, kernel),
            Err(error) => {
                assert!(!kernel.is_available(), "{error}");
                let expected = format!("data.toml:1: kernel: this CPU does not run the kernel {kernel}: it runs ");
                assert!(error.to_string().starts_with(&expected), "{error}");
            }
        }
    }
    let unknown = with("fast").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "data.toml:1: kernel: no kernel of this name: there are avx512, avx2, aesni, portable: write one of these, or \"auto\" for the fastest"
    );
}

#[test]
fn both_families_on_one_port() {
    let text = GOOD
        .replace("[\"192.0.2.1/24\"]\nmtu = 1400", "[\"192.0.2.1/24\", \"2001:db8::1/64\"]\nmtu = 1280")
        .replace("[\"10.1.0.1/24\"]", "[\"10.1.0.1/24\", \"fd00:1::1/64\", \"fe80::1/64\"]");
    let routes = "[[route]]\nprefix = \"::/0\"\nvia = \"fe80::ff\"\nport = \"net_af_packet1\"\n\n\
                  [[route]]\nprefix = \"fd00:9::/48\"\nvia = \"fd00:1::9\"\n\n[[neighbor]]\n";
    let config = parse(&text.replace("[[neighbor]]\n", routes)).unwrap();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(config.ports.iter().map(|port| port.addresses.len()).collect::<Vec<_>>(), [3, 2]);
    let route = |destination, prefix_len, via, port| Route { destination: address(destination), prefix_len, via: address(via), port };
    assert_eq!(config.routes[1..], [route("::", 0, "fe80::ff", PortId(1)), route("fd00:9::", 48, "fd00:1::9", PortId(0))]);
}

#[test]
fn the_limits_themselves_are_legal() {
    assert!(parse(&GOOD.replace("10.1.0.1/24\"", "10.1.0.1/24\", \"fd00::/127\"")).is_ok());
    assert!(parse(&GOOD.replace("1400", "576")).is_ok());
    assert!(parse(&GOOD.replace("1400", "9000")).is_ok());
    assert!(parse(&GOOD.replace("1024", "1048576")).is_ok());
    assert!(parse(&GOOD.replace("10.1.0.1/24", "10.1.0.8/31")).is_ok());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nonexistent/data.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/data.toml: "), "{error}");
}
