//! No configuration of a proxy makes its reader panic or hang.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_model::authorization::compile::Protocol;
use mesh_model::authorization::connection::Presents;
use mesh_model::proxy::Proxy;
use mesh_model::version::Profile;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(listeners) = serde_json::from_slice::<Value>(bytes) else { return };
    let Ok(proxy) = Proxy::read(&listeners, &Value::Null) else { return };
    let presents = Presents::Plaintext;
    for port in [80, 8080, 9000] {
        for speaks in [Protocol::Http, Protocol::Tcp] {
            let _ = proxy.door(port, &presents, speaks, &Profile::default());
        }
    }
});
