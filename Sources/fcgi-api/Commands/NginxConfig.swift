import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess
import Glibc

/// Writes nginx's files for the current settings: the shipped files with other values.
struct NginxConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nginx-config",
        abstract: "Print nginx's files for these settings, and check nginx.conf.",
        discussion: """
            Prints each file that depends on these settings, or only FILE. The files belong in the folder `chat` beside \
            nginx.conf, with the other shipped files. --to writes all of them there, and log.conf only if there is none.
            """)

    @OptionGroup var settings: SettingsOption
    @Argument(help: "upstreams.conf, cors.conf, server.conf, uploads.conf, metrics.conf, json.conf or locations.conf.")
    var file: String?
    @Option(help: "The folder of the shipped files.") var includes: String?
    @Option(help: "Serve below this path, such as /chat; locations.conf then goes into the server{} as well.")
    var prefix = ""
    @Option(
        help: "Pass requests to these hosts, separated by commas, over TCP with the ports of the settings.")
    var hosts = ""
    @Option(help: "Write the files here, such as /etc/nginx/chat, and name those that changed.")
    var to: String?
    @Option(help: "Check this nginx.conf and warn about limits that are too low.") var nginxConf: String?

    func run() throws {
        let settings = try self.settings.read()
        let files = NginxFiles(
            settings: settings, prefix: try checkedPrefix(), pools: try PoolFolder.pools(settings),
            hosts: try NginxFiles.checked(hosts: hosts))
        try files.checkPorts()
        let folder = try includes ?? found(settings)
        if let file, !files.names.contains(file) {
            throw OperatorError("\(file) is none of: \(files.names.joined(separator: ", "))")
        }
        let texts = try files.names.filter { file == nil || file == $0 }.map { name in
            let source = name == "locations.conf" && !files.prefix.isEmpty ? "prefixed.conf" : name
            return (name: name, text: files.changed(name, try shipped(source, folder)))
        }
        if let to {
            guard !to.isEmpty else { throw OperatorError("--to takes a folder, such as /etc/nginx/chat") }
            // The other files are written as shipped.
            let others = try (file == nil ? files.others : []).map { (name: $0, text: try shipped($0, folder)) }
            try store(texts + others, to)
        } else {
            for (name, text) in texts {
                if file == nil { print("# -- chat/\(name)") }
                print(text, terminator: "")
            }
        }
        guard let nginxConf else { return }
        guard let text = readFile(nginxConf) else { throw OperatorError("\(nginxConf) cannot be read") }
        for warning in NginxFiles.warnings(text, settings, processors: sysconf(Int32(_SC_NPROCESSORS_ONLN))) {
            let line = Array("warning: \(nginxConf): \(warning)\n".utf8)
            _ = write(2, line, line.count)
        }
    }

    private func shipped(_ name: String, _ folder: String) throws -> String {
        guard let text = readFile("\(folder)/\(name)") else {
            throw OperatorError("\(folder)/\(name) cannot be read: --includes names the folder of the shipped files")
        }
        return text
    }

    private func store(_ texts: [(name: String, text: String)], _ folder: String) throws {
        for (name, text) in texts {
            let before = readFile("\(folder)/\(name)")
            // An operator may have changed the log's path, so an existing log.conf stays.
            guard before != text, name != "log.conf" || before == nil else { continue }
            try replaceFile("\(folder)/\(name)", text, mode: 0o644)
            print("\(folder)/\(name)")
        }
    }

    private func checkedPrefix() throws -> String {
        var prefix = prefix
        while prefix.utf8.last == UInt8(ascii: "/") { prefix = String(Substring(prefix.utf8.dropLast())) }
        let segments = pieces(of: prefix, at: UInt8(ascii: "/"), omittingEmpty: false)
        let isPlain = segments.dropFirst().allSatisfy { segment in
            !segment.isEmpty && !segment.utf8.starts(with: ".".utf8)
                && segment.utf8.allSatisfy { byte in
                    switch byte {
                    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"):
                        true
                    default: "._~-".utf8.contains(byte)
                    }
                }
        }
        guard prefix.isEmpty || segments[0].isEmpty && isPlain else {
            throw OperatorError("--prefix takes a path such as /chat, of letters, digits and . _ ~ -")
        }
        return prefix
    }

    private func found(_ settings: Settings) throws -> String {
        let places = ["\(settings.documents)/../nginx/include", "/usr/share/chat/nginx", "/etc/nginx/chat"]
        guard let place = places.first(where: { readFile("\($0)/upstreams.conf") != nil }) else {
            throw OperatorError("nginx's shipped files are not found: --includes names their folder")
        }
        return place
    }
}

/// The texts of the shipped files with the values of the settings.
struct NginxFiles {
    /// The files that the settings, the pools or other hosts change.
    var names: [String] {
        ["upstreams.conf", "cors.conf", "server.conf", "uploads.conf", "metrics.conf", "json.conf", "locations.conf"]
            + (hosts.isEmpty ? [] : Self.connecting)
    }

    var others: [String] {
        [
            "error-answer.conf", "error-headers.conf", "errors.conf", "file-headers.conf", "log.conf", "prefixed.conf",
        ] + (hosts.isEmpty ? Self.connecting : [])
    }

    /// The files with nginx's connections to the programs.
    private static let connecting = ["events.conf", "fastcgi.conf", "relay.conf"]

    let settings: Settings
    /// Without a slash at the end; empty: none.
    let prefix: String
    var pools: [PoolSettings]
    /// The programs' hosts, in nginx's syntax; empty: this machine.
    var hosts: [String] = []

    func changed(_ name: String, _ text: String) -> String {
        var text = valued(name, text)
        guard name != "upstreams.conf" else { return text }
        let table = PoolTable(pools)
        for family in PoolRoute.Family.allCases where table.isChanged(family) {
            text = text.replacing(
                "fastcgi_pass chat_\(family.rawValue);", with: "fastcgi_pass $chat_pool_of_\(family.rawValue);")
        }
        return name == "locations.conf" ? withPoolPaths(text) : text
    }

    /// Puts the status and ping of each pool before the general locations.
    private func withPoolPaths(_ text: String) -> String {
        let mark = "# -- Uploads\n"
        guard let place = text.firstRange(of: mark) else { return text }
        let start = "(?s)^(?<chat_prefix>" + prefix.replacing(".", with: "\\.") + "/api/v1)"
        var added = ""
        for pool in pools {
            if let path = pool.pingPath {
                added += """
                    # -- Ping of the pool \(pool.name)
                    location ~ \(start)(?<chat_path>\(path))$ {
                      fastcgi_pass \(pool.upstream);
                      include chat/json.conf;
                    }


                    """
            }
            if let path = pool.statusPath {
                added += """
                    # -- Status of the pool \(pool.name), for this machine
                    location ~ \(start)(?<chat_path>\(path))$ {
                      allow 127.0.0.1;
                      allow ::1;
                      deny all;
                      fastcgi_pass \(pool.upstream);
                      include chat/json.conf;
                    }


                    """
            }
        }
        return String(text[..<place.lowerBound]) + added + String(text[place.lowerBound...])
    }

    private func valued(_ name: String, _ text: String) -> String {
        switch name {
        case "upstreams.conf": upstreams(text).replacing("\"24 MB\"", with: "\"\(uploadMegabytes) MB\"")
        case "cors.conf":
            text.replacing("  default  \"\";\n  # \"https://app.example\"  $http_origin;\n", with: origins)
        case "server.conf":
            text.replacing(
                "root /var/lib/chat/files/", with: "root \(settings.storage.folder ?? "/var/lib/chat/files")/")
        case "uploads.conf":
            text.replacing("client_max_body_size 24m;", with: "client_max_body_size \(uploadMegabytes)m;")
        case "json.conf":
            (hosts.isEmpty ? text : impatient(text)).replacing(
                "client_max_body_size 64k;", with: "client_max_body_size \((settings.fcgi.maxBody + 1023) / 1024)k;")
        case "locations.conf" where !prefix.isEmpty: prefixed(text)
        case "fastcgi.conf", "relay.conf", "events.conf": hosts.isEmpty ? text : impatient(text)
        default: text
        }
    }

    /// Megabytes of a whole file in a form, with the overhead around it.
    private var uploadMegabytes: Int { (settings.storage.maxUpload + (1 << 20) - 1) / (1 << 20) + 4 }

    private var origins: String {
        if settings.web.origins == ["*"] { return "  default  \"*\";\n" }
        return "  default  \"\";\n" + settings.web.origins.map { "  \"\($0)\"  $http_origin;\n" }.joined()
    }

    private func upstreams(_ text: String) -> String {
        var text = text
        for pool in pools where pool.isOwn {
            put(pool.upstream, servers(pool.upstream, pool.listen), &text)
        }
        put("chat_ws_relay", servers("chat_ws_relay", settings.relay.listen, isLasting: true), &text)
        if !hosts.isEmpty { text = Self.commented(forHosts: text) }
        if let scheme = settings.storage.endpoint.firstRange(of: "://") {
            let host = settings.storage.endpoint[scheme.upperBound...].utf8.prefix { $0 != UInt8(ascii: "/") }
            put("chat_store", "  server \(String(decoding: host, as: UTF8.self));\n", &text)
        }
        return text + ownPools
    }

    /// The upstreams of pools that the shipped files do not have, and the maps that choose a pool.
    private var ownPools: String {
        var text = ""
        for pool in pools where !pool.isOwn {
            text += "\n# The pool \(pool.name)\nupstream \(pool.upstream) {\n"
            text += servers(pool.upstream, pool.listen) + "}\n"
        }
        let table = PoolTable(pools)
        for family in PoolRoute.Family.allCases where table.isChanged(family) {
            text += "\nmap \"$host $request_method $chat_prefix $request_uri\" $chat_pool_of_\(family.rawValue) {\n"
            text += "  default  \(table.pool(of: family).upstream);\n"
            for (expression, pool) in table.claims(in: family) {
                text += "  \"~\(expression)\"  \(pool.upstream);\n"
            }
            text += "}\n"
        }
        return text
    }

    /// The address as nginx connects to it, written for its files.
    static func server(_ listen: String) -> String {
        guard let address = try? ListenAddress(parsing: listen) else { return listen }
        switch address {
        case .tcp("0.0.0.0", let port): return "127.0.0.1:\(port)"
        case .tcp("::", let port): return "[::1]:\(port)"
        case .tcp: return address.description
        case .unix:
            let text = address.description
            let isPlain = text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && !";{}\"'\\#".utf8.contains($0) }
            return isPlain
                ? text : "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
        }
    }

    private func put(_ upstream: String, _ servers: String, _ text: inout String) {
        guard let head = text.firstRange(of: "upstream \(upstream) {\n"),
            let end = text[head.upperBound...].firstRange(of: "}")
        else { return }
        text.replaceSubrange(head.upperBound..<end.lowerBound, with: servers)
    }

    /// Replaces the prefix by a constant, for exact matches inside the server{} block.
    private func prefixed(_ text: String) -> String {
        let escaped = prefix.replacing(".", with: "\\.")
        let body = text.firstRange(of: "# -- WebSocket").map { String(text[$0.lowerBound...]) } ?? text
        return "# The chat below \(prefix), for the server{}: made by `fcgi-api nginx-config --prefix \(prefix)`.\n"
            + "include chat/server.conf;\n\n" + body.replacing("(?:/[A-Za-z0-9._~-]+)+?", with: escaped)
    }

    /// The limits in an nginx.conf that are too low for the number of sockets that the relays accept.
    static func warnings(_ text: String, _ settings: Settings, processors: Int) -> [String] {
        var warnings: [String] = []
        let sockets = settings.relay.maxConnections * settings.relay.processes
        let workers = max(
            1, number("worker_processes", text) ?? (value("worker_processes", text) == nil ? 1 : processors))
        let connections = number("worker_connections", text) ?? 512
        let needed = 2 * sockets / workers + 500
        if connections < needed {
            warnings.append(
                """
                worker_connections \(connections) in \(workers) workers hold \(connections * workers / 2) sockets, the \
                relays take \(sockets) (WS_MAX_CONNECTIONS): worker_connections \(needed);
                """)
        }
        let files = number("worker_rlimit_nofile", text)
        if (files ?? 1024) < max(connections, needed) {
            warnings.append(
                """
                worker_rlimit_nofile \(files.map { "\($0)" } ?? "is not set, so a worker") opens fewer files than it has \
                connections: worker_rlimit_nofile \(max(connections, needed) + 100);
                """)
        }
        if value("worker_shutdown_timeout", text) == nil {
            warnings.append(
                "worker_shutdown_timeout is not set: after each reload old workers live as long as a WebSocket does; 1h suits most"
            )
        }
        return warnings
    }

    private static func number(_ name: String, _ text: String) -> Int? { value(name, text).flatMap { Int($0) } }

    /// The value of a directive with one value, outside of comments.
    private static func value(_ name: String, _ text: String) -> String? {
        for line in text.split(separator: "\n") {
            let code = line.prefix { $0 != "#" }
            guard let found = code.firstRange(of: name) else { continue }
            let before = code[..<found.lowerBound].last
            guard before == nil || before == " " || before == "\t" || before == "{" || before == ";" else { continue }
            let words = code[found.upperBound...].prefix { $0 != ";" }.split { $0 == " " || $0 == "\t" }
            if let word = words.first { return String(word) }
        }
        return nil
    }
}
