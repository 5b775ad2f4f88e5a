import Glibc

/// A folder in which programs make files.
public enum WritableFolder {
    /// The end of the sentence "FOLDER …"; nil: this process can make a file in it. It tries, since access rights do
    /// not show it: not for root, nor in a file system without files of its own.
    ///
    /// - Parameter isMade: the programs make the folder, and those above it, when it is missing.
    public static func problem(_ path: String, isMade: Bool = false) -> String? {
        var status = stat()
        guard stat(path, &status) == 0 else {
            let code = errno
            guard isMade, code == ENOENT, let above = above(path) else {
                return code == ENOENT ? "does not exist" : cannotBeUsed(code)
            }
            return problem(above, isMade: true).map { "does not exist and cannot be made: \(above) \($0)" }
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return "is not a folder" }
        guard access(path, R_OK | W_OK | X_OK) == 0 else { return cannotBeUsed(errno) }
        var trial = Array("\(path)/.chat-XXXXXX".utf8CString)
        let made = mkstemp(&trial)
        guard made >= 0 else { return cannotBeUsed(errno) }
        close(made)
        unlink(trial)
        return nil
    }

    private static func above(_ path: String) -> String? {
        var rest = path.utf8[...]
        while rest.count > 1, rest.last == UInt8(ascii: "/") { rest = rest.dropLast() }
        guard rest.count > 1, let slash = rest.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        return slash == rest.startIndex ? "/" : String(Substring(rest[..<slash]))
    }

    private static func cannotBeUsed(_ code: Int32) -> String { "cannot be used: \(String(cString: strerror(code)))" }
}

extension StorageSettings {
    /// A sentence for each folder in which this process could not keep files.
    public func unusableFolders() -> [String] {
        var found: [String] = []
        if isSet, let problem = WritableFolder.problem(temporaryFolder) {
            found.append("UPLOAD_TEMP_DIR=\(temporaryFolder) \(problem)")
        }
        // For the package systemd makes this folder when it starts the programs.
        let package = "/var/lib/chat"
        guard let folder, !folder.utf8.starts(with: package.utf8) || access(package, F_OK) == 0 else { return found }
        for path in [folder, "\(folder)/objects", "\(folder)/uploads"] {
            guard let problem = WritableFolder.problem(path, isMade: true) else { continue }
            found.append("STORAGE=disk:\(folder): \(path) \(problem)")
            break
        }
        return found
    }
}
