import ChatCore
import Testing

/// Addresses of scripts behind FastCGI servers.
@Suite struct FastCGIAddressTests {
    @Test(arguments: [
        ("fcgi://unix:/run/php/php-fpm.sock/srv/app/chat.php", "/run/php/php-fpm.sock", "/srv/app/chat.php"),
        ("fcgi://unix:/run/a.sock/srv/b.sock/chat.php", "/run/a.sock", "/srv/b.sock/chat.php"),
        ("fcgi://unix:/run/app:/srv/app/chat.php", "/run/app", "/srv/app/chat.php"),
        ("fcgi://unix:/run/a.sock:/chat.php", "/run/a.sock", "/chat.php"),
        ("FCGI://Unix:/run/a.sock/chat.php", "/run/a.sock", "/chat.php"),
    ])
    func ofAUnixSocket(_ text: String, _ socket: String, _ script: String) throws {
        let address = try FastCGIAddress(text)
        #expect(address.server == .unix(socket))
        #expect(address.script == script)
    }

    @Test(arguments: [
        ("fcgi://127.0.0.1:9001/srv/chat.php", "127.0.0.1", 9001), ("fcgi://php/srv/chat.php", "php", 9000),
        ("FCGI://[::1]:9000/srv/chat.php", "::1", 9000),
    ])
    func overTCP(_ text: String, _ host: String, _ port: Int) throws {
        let address = try FastCGIAddress(text)
        #expect(address.server == .tcp(ServerURL.Host(host, port)))
        #expect(address.script == "/srv/chat.php")
    }

    @Test(arguments: [
        "fcgi://unix:/run/php/php-fpm.sock", "fcgi://unix:/run/php/php-fpm.sock/", "fcgi://unix:/run/app/chat.php",
        "fcgi://unix:run/php.sock/chat.php", "fcgi://unix:/run/app:chat.php", "fcgi://unix:", "fcgi://", "fcgi:",
        "fcgi://127.0.0.1:9000", "fcgi://127.0.0.1:9000/", "fcgi://127.0.0.1:0/a.php", "fcgi://a,b/chat.php",
        "fcgi://user:secret@a/chat.php", "fcgi://a/../etc/chat.php", "fcgi://unix:/run/a.sock/srv/../chat.php",
        "fcgi://unix:/run/a.sock/srv/a b.php", "fcgi://unix:/run/a.sock/srv/a\n.php",
        "fcgi://unix:/\(String(repeating: "x", count: 110)).sock/chat.php", "http://a/chat.php",
        "fcgi://unix:/run/a.sock/chat.php?a=b", "fcgi://unix:/run/a.sock/chat.php#a", "fcgi://a/chat.php?a=b",
        "fcgi://a/chat.php#a", "fcgi://a/chat.php?",
    ])
    func whatIsNone(_ text: String) {
        #expect(throws: ServerURL.Problem.self) { try FastCGIAddress(text) }
    }

    @Test func theSettingsTakeThemForHooks() throws {
        let secret = String(repeating: "x", count: 32)
        let url = "fcgi://unix:/run/php/php-fpm.sock/srv/app/chat.php"
        let settings = try Settings(testing: [
            "WEBHOOK_URL": url, "MESSAGE_CHECK_URL": url, "PUSH_WEBHOOK_URL": url, "WEBHOOK_SECRET": secret,
        ])
        #expect(settings.hooks.url == url)
        for name in ["WEBHOOK_URL", "MESSAGE_CHECK_URL", "PUSH_WEBHOOK_URL"] {
            let error = #expect(throws: SettingsError.self) {
                try Settings(testing: [name: "fcgi://unix:/run/php.sock", "WEBHOOK_SECRET": secret])
            }
            #expect(error?.problems.contains { $0.hasPrefix("\(name): ") } == true)
        }
    }
}
