import Configuration

/// A source of settings: returns the text for a name.
public protocol SettingsSource {
    func value(_ name: String) -> String?
    /// Told what is in force after all: the value, or the default.
    func decided(_ name: String, _ value: String)
}

extension SettingsSource {
    public func decided(_ name: String, _ value: String) {}
}

/// A source that is only asked, and changes nothing.
struct SettingsOrigin: @unchecked Sendable { let source: any SettingsSource }

/// Values of some names over those of another source.
struct ChangedSettings: SettingsSource {
    let values: [String: String]
    let others: any SettingsSource

    func value(_ name: String) -> String? { values[name] ?? others.value(name) }
}

/// All problems of the settings, one sentence each.
public struct SettingsError: Error, CustomStringConvertible {
    public let problems: [String]

    public init(problems: [String]) { self.problems = problems }

    public var description: String { problems.joined(separator: "\n") }
}

/// The process environment, then a `.env` file.
public struct EnvironmentSettings: SettingsSource {
    private let environment: EnvironmentVariablesProvider
    private let file: EnvironmentVariablesProvider?

    /// - Parameter file: path of a `.env` file; nil: the environment alone.
    public init(file path: String?) throws(SettingsError) {
        environment = EnvironmentVariablesProvider()
        guard let path else {
            file = nil
            return
        }
        // Not by the library: its errors show names of Swift types, and it waits for pipes and reads devices.
        file = EnvironmentVariablesProvider(environmentVariables: try EnvironmentFile(path).values)
    }

    public func value(_ name: String) -> String? {
        if let value = try? environment.environmentValue(forName: name) { return value }
        return try? file?.environmentValue(forName: name)
    }
}

/// Collects all problems instead of stopping at the first, so that an operator can fix them at once.
struct SettingsReader {
    private let source: any SettingsSource
    private(set) var problems: [String] = []

    init(_ source: some SettingsSource) { self.source = source }

    mutating func problem(_ text: String) { problems.append(text) }

    /// An empty value counts as absent, because `.env.example` files contain empty values.
    func optional(_ name: String) -> String? {
        let value = source.value(name).flatMap { $0.isEmpty ? nil : $0 }
        source.decided(name, value ?? "")
        return value
    }

    func text(_ name: String, default fallback: String) -> String { decided(name, optional(name) ?? fallback) }

    private func decided<Value: CustomStringConvertible>(_ name: String, _ value: Value) -> Value {
        source.decided(name, value.description)
        return value
    }

    /// An empty URL means none. Only the form is checked, not whether the server answers.
    mutating func expectHTTP(_ name: String, _ url: String) {
        guard !url.isEmpty else { return }
        do throws(ServerURL.Problem) {
            let parts = try ServerURL(url, ports: ["http": 80, "https": 443])
            guard parts.hosts.count == 1 else { throw ServerURL.Problem("it names several hosts") }
        } catch { problems.append("\(name): \(error)") }
    }

    /// The address of a hook: HTTP, or a script behind FastCGI.
    mutating func expectHook(_ name: String, _ url: String) {
        guard !url.isEmpty else { return }
        do throws(ServerURL.Problem) {
            guard !FastCGIAddress.isMeant(url) else {
                _ = try FastCGIAddress(url)
                return
            }
            let parts = try ServerURL(url, ports: ["http": 80, "https": 443, "fcgi": 9000])
            guard parts.hosts.count == 1 else { throw ServerURL.Problem("it names several hosts") }
        } catch { problems.append("\(name): \(error)") }
    }

    mutating func required(_ name: String, _ what: String) -> String {
        if let value = optional(name) { return value }
        problems.append("\(name) is not set: it takes \(what)")
        return ""
    }

    mutating func number(_ name: String, default fallback: Int, in range: ClosedRange<Int>) -> Int {
        guard let text = optional(name) else { return decided(name, fallback) }
        guard let number = Int(text), range.contains(number) else {
            problems.append("\(name)=\(text) is not a whole number from \(range.lowerBound) to \(range.upperBound)")
            return fallback
        }
        return number
    }

    mutating func seconds(_ name: String, default fallback: Int, in range: ClosedRange<Int>) -> Duration {
        .seconds(number(name, default: fallback, in: range))
    }

    mutating func milliseconds(_ name: String, default fallback: Int, in range: ClosedRange<Int>) -> Duration {
        .milliseconds(number(name, default: fallback, in: range))
    }

    mutating func days(_ name: String, default fallback: Int, in range: ClosedRange<Int>) -> Duration {
        .days(number(name, default: fallback, in: range))
    }

    /// Permission bits as `chmod` takes them.
    mutating func octal(_ name: String, default fallback: Int) -> Int {
        guard let text = optional(name) else {
            source.decided(name, "0" + String(fallback, radix: 8))
            return fallback
        }
        guard text.utf8.allSatisfy({ (0x30...0x37).contains($0) }), let number = Int(text, radix: 8),
            (0...0o777).contains(number)
        else {
            problems.append("\(name)=\(text) is not a file mode such as 0660")
            return fallback
        }
        return number
    }

    mutating func choice(_ name: String, _ choices: [String], default fallback: String) -> String {
        guard let text = optional(name) else { return decided(name, fallback) }
        guard choices.contains(text) else {
            problems.append("\(name)=\(text) is not one of: \(choices.joined(separator: ", "))")
            return fallback
        }
        return text
    }

    func list(_ name: String) -> [String] {
        pieces(of: optional(name) ?? "", at: UInt8(ascii: ",")).map { trimmed($0) }
    }
}
