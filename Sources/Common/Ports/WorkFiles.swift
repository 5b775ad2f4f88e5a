/// Files for the time of one piece of work, in the folder of temporary files.
public protocol WorkFiles: AnyObject {
    /// A file without a name: it is deleted with the last ``FilePart`` of it, however the process ends.
    ///
    /// - Parameter fill: writes the file through its descriptor, and returns its size.
    func file(_ fill: (Int32) throws(Refusal) -> Int64) throws(Refusal) -> FilePart
    /// A folder with one file, for programs that take a path.
    func folder(_ fill: (Int32) throws(Refusal) -> Void) throws(Refusal) -> any WorkFolder
}

/// Removed, with everything in it, by ``remove()``.
public protocol WorkFolder: AnyObject {
    /// The path of its one file.
    var path: String { get }
    /// A file in it, as it is now.
    func part(_ path: String) throws(Refusal) -> FilePart
    func remove()
}
