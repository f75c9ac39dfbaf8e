<#
.SYNOPSIS
Registers this Windows EC2 instance as a managed node of the central account, and tags it with its node's id.

.DESCRIPTION
The same steps as register-instance on Linux. No Windows runs this script in the tests, which run it in an evaluator of
their own on a made-up machine: try it on one instance before you give it to a fleet.

Requires PowerShell 5.1 run as administrator, the SSM Agent, and AWS Tools for PowerShell with the modules
AWS.Tools.SimpleSystemsManagement and AWS.Tools.EC2 (or AWSPowerShell, which the Windows images of Amazon have).

It takes the credentials of the instance profile from the instance metadata service and hands them to each cmdlet: a
registered agent leaves the central account's credentials in the SYSTEM profile, where the cmdlets would find them.

Exit codes are those of register-instance: 0 registered and tagged; 1 unexpected; 3 not administrator; 4 not EC2;
5 agent or AWS Tools missing, or the agent's service disabled; 6 activation missing or unreadable; 7 expired;
8 exhausted; 9 wrong activation; 10 registration failed; 11 the agent could not be stopped or started; 12 clone;
13 tag not written; 14 locked; 15 network; 17 the running agent does not use the registration; 18 registered with
another hub; 19 the time of this machine is off.

.EXAMPLE
.\register-instance.ps1

.EXAMPLE
.\register-instance.ps1 -ActivationIdParameter ActivationID -ActivationCodeParameter ActivationCode -Region us-east-1
#>
[CmdletBinding(DefaultParameterSetName = 'Json')]
param(
    # The parameter with the activation, as the hub writes it.
    [Parameter(ParameterSetName = 'Json')] [string] $Parameter = '/tag-hub/activation',
    # The parameters of an activation that was made by hand.
    [Parameter(ParameterSetName = 'Pair', Mandatory)] [string] $ActivationIdParameter,
    [Parameter(ParameterSetName = 'Pair', Mandatory)] [string] $ActivationCodeParameter,
    # The Region of the hub.
    [ValidatePattern('^$|^[a-z]{2,4}(-[a-z]+)+-\d{1,2}$', Options = 'None')] [string] $Region = '',
    # The central account. An activation of any other is refused. One that was made by hand does not say which it is for.
    [Parameter(ParameterSetName = 'Json')] [ValidatePattern('^$|^\d{12}$')] [string] $HubAccount = '',
    # For how long what may pass is tried again.
    [ValidateRange(10, 3600)] [int] $TimeoutSeconds = 300,
    # Say what would be done, and change nothing.
    [switch] $DryRun
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Not from the environment, which whoever starts this may have changed.
$ProgramData = [Environment]::GetFolderPath('CommonApplicationData')
$ProgramFiles = [Environment]::GetFolderPath('ProgramFiles')
$Data = Join-Path $ProgramData 'Amazon\SSM'
# Agents differ in where they keep the registration: the present ones under InstanceData, older ones beside it.
$Vaults = (Join-Path $Data 'InstanceData\Vault\Store\RegistrationKey'), (Join-Path $Data 'Vault\Store\RegistrationKey')
$LogFolder = Join-Path $Data 'Logs'
$Logs = Join-Path $LogFolder 'amazon-ssm-agent.log'
# The errors of the log once more.
$ErrorLog = Join-Path $LogFolder 'errors.log'
$Registrations = (Join-Path $Data 'InstanceData\registration'), (Join-Path $Data 'registration')
# What the running agent took for its identity when it started.
$Runtime = Join-Path $Data 'runtimeconfig\identity_config.json'
$Folder = Join-Path $ProgramData 'TagHub'
$Marker = Join-Path $Folder 'registration.json'
$LockFile = Join-Path $Folder 'register-instance.lock'
# There from before the agent is stopped until it runs again: if a run is killed in between, the next one starts it.
$StoppedFile = Join-Path $Folder 'agent-stopped'
# The groups of administrators and the system.
$Owners = 'S-1-5-32-544', 'S-1-5-18'
$Agent = Join-Path $ProgramFiles 'Amazon\SSM\amazon-ssm-agent.exe'
$Cli = Join-Path $ProgramFiles 'Amazon\SSM\ssm-cli.exe'
$Service = 'AmazonSSMAgent'
# Patterns for -cmatch. Before \z stands what $ would let by: a line feed.
$NodePattern = 'mi-[0-9a-f]{17}'
$RegionPattern = '^[a-z]{2,4}(-[a-z]+)+-\d{1,2}\z'
$AccountPattern = '^[0-9]{12}\z'
$InstancePattern = '^i-([0-9a-f]{8}|[0-9a-f]{17})\z'
$TimePattern = '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\z'
$Imds = 'http://169.254.169.254/latest'
$RegisterSeconds = 60
$ControlSeconds = 100
$CliSeconds = 20
# How long an agent that has just started is given to say that it is refused.
$SettleSeconds = 30
# For how long after a boot a refusal may only mean that the instance profile is not yet known everywhere.
$BootSeconds = 300
$Began = [datetime]::UtcNow
$Deadline = $Began.AddSeconds($TimeoutSeconds)
$IsPair = $PSCmdlet.ParameterSetName -eq 'Pair'

function Say([string] $Text) { Write-Host "register-instance: $Text" }

# The reason travels in the exception, so that whatever has to be done before the end is done.
function Fail([int] $Code, [string] $Text) {
    $problem = New-Object System.Exception $Text
    $problem.Data['ExitCode'] = $Code
    throw $problem
}

# The exit code that a failure has brought along, or 1.
function Get-ExitCode($Exception) {
    if ($Exception.Data.Contains('ExitCode')) { return $Exception.Data['ExitCode'] }
    return 1
}

# Pauses that grow to 15 seconds, less up to half by chance.
function Wait-Again([int] $Try) {
    $full = [math]::Min([math]::Pow(2, [math]::Min($Try, 5) - 1), 15)
    Start-Sleep -Milliseconds ([int](1000 * $full * (1 - (Get-Random -Minimum 0.0 -Maximum 0.5))))
}

# The seconds that a step has: its own limit, and no more than is left of the run, but always 10.
function Get-Limit([int] $Seconds) {
    return [math]::Min($Seconds, [math]::Max(10, ($Deadline - [datetime]::UtcNow).TotalSeconds))
}

# The text of a file, or nothing where there is none. What is there and cannot be read may be of another machine, or be a
# registration: nobody goes on without it.
function Read-Text([string] $Path) {
    if (-not (Test-Path -LiteralPath $Path)) { return $null }
    try { return "$(Get-Content -Raw -LiteralPath $Path)" } catch { Fail 1 "cannot read ${Path}: $($_.Exception.Message)" }
}

# What JSON stands for, or nothing where it is none. Its error would show what it was given.
function Read-Value($Text) {
    if ($null -eq $Text) { return $null }
    try { return $Text | ConvertFrom-Json } catch { return $null }
}

# The value of a property, or nothing where there is no such property.
function Get-Field($Object, [string] $Name) {
    if ($null -ne $Object -and $Object.PSObject.Properties[$Name]) { return $Object.$Name }
    return $null
}

# The same for text of a form; anything else is nothing.
function Get-Text($Object, [string] $Name, [string] $Pattern) {
    $value = Get-Field $Object $Name
    if ($value -is [string] -and $value -cmatch $Pattern) { return $value }
    return $null
}

# A time, in UTC; nothing where there is none. PowerShell 7 makes a time of it by itself.
function Get-Time($Object, [string] $Name) {
    $time = Get-Field $Object $Name
    if ($time -is [datetime]) { return $time.ToUniversalTime() }
    if ("$(Get-Text $Object $Name $TimePattern)" -eq '') { return $null }
    try { return [datetimeoffset]::Parse($time, [cultureinfo]::InvariantCulture).UtcDateTime } catch { return $null }
}

# Asks the metadata service: never through a proxy, and following it nowhere.
function Invoke-Imds([string] $Method, [string] $Path, [string] $Header, [string] $Value) {
    $request = [System.Net.WebRequest]::CreateHttp("$Imds/$Path")
    $request.Method = $Method
    $request.Proxy = $null
    $request.AllowAutoRedirect = $false
    $request.Timeout = $request.ReadWriteTimeout = 5000
    if ($Method -eq 'PUT') { $request.ContentLength = 0 }
    $request.Headers.Add($Header, $Value)
    $response = $request.GetResponse()
    try { return (New-Object System.IO.StreamReader $response.GetResponseStream()).ReadToEnd() } finally { $response.Close() }
}

# A session with the metadata service asks for each thing with a token.
function Get-Imds([string] $Path) {
    $token = Invoke-Imds 'PUT' 'api/token' 'X-aws-ec2-metadata-token-ttl-seconds' '3600'
    return Invoke-Imds 'GET' $Path 'X-aws-ec2-metadata-token' $token
}

# The status that a failed request was answered with, or 0 if there was no answer.
function Get-Status($Exception) {
    $response = Get-Field $Exception.InnerException 'Response'
    if ($response) { return [int] $response.StatusCode }
    return 0
}

function Get-Identity {
    for ($try = 1; ; $try++) {
        try {
            $text = Get-Imds 'dynamic/instance-identity/document'
            break
        } catch {
            $status = Get-Status $_.Exception
            # One that does not answer comes up within a few seconds. One that is busy is waited for.
            $isOver = if ($status) { $status -lt 500 -or [datetime]::UtcNow -ge $Deadline } else { $try -ge 5 }
            if ($isOver) {
                $said = if ($status) { "answers with status $status" } else { 'does not answer' }
                Fail 4 "the instance metadata service $said. Run this on an EC2 instance with its instance metadata service on (IMDSv2)"
            }
        }
        Wait-Again $try
    }
    $document = Read-Value $text
    $identity = [pscustomobject]@{
        Account = Get-Text $document 'accountId' $AccountPattern
        Region = Get-Text $document 'region' $RegionPattern
        Instance = Get-Text $document 'instanceId' $InstancePattern
    }
    if (-not ($identity.Account -and $identity.Region -and $identity.Instance)) {
        Fail 4 'what the instance metadata service answers is no identity document. Run this on an EC2 instance with its instance metadata service on (IMDSv2)'
    }
    return $identity
}

# The failure of a call, with a code such as those of AWS.
function New-Problem([string] $Code, [string] $Text) {
    $problem = New-Object System.Exception $Text
    $problem.Data['Code'] = $Code
    return $problem
}

# The credentials of the instance profile, asked for at each call, as they change.
function Get-ProfileCredential {
    try {
        $role = ((Get-Imds 'meta-data/iam/security-credentials/') -split '\r?\n')[0].Trim()
        $keys = if ($role -cmatch '^[A-Za-z0-9+=,.@_-]{1,64}\z') { Read-Value (Get-Imds "meta-data/iam/security-credentials/$role") } else { $null }
    } catch {
        $status = Get-Status $_.Exception
        if ($status -ne 0 -and $status -lt 500) {
            throw (New-Problem 'NoCredentials' 'the metadata service has no credentials of an instance profile. Attach the one of Tag Hub (TagHubInstance) to this instance')
        }
        throw (New-Problem 'Timeout' 'the metadata service gave no credentials of the instance profile')
    }
    if ((Get-Field $keys 'Code') -eq 'AssumeRoleUnauthorizedAccess') {
        throw (New-Problem 'RoleNotAssumed' "EC2 cannot assume the role $role of the instance profile. Its trust policy must let ec2.amazonaws.com assume it")
    }
    $id = Get-Text $keys 'AccessKeyId' '.'
    $secret = Get-Text $keys 'SecretAccessKey' '.'
    $token = Get-Text $keys 'Token' '.'
    if (-not ($id -and $secret -and $token)) {
        throw (New-Problem 'NoCredentials' 'what the metadata service answers are no credentials of an instance profile. Attach the one of Tag Hub (TagHubInstance) to this instance')
    }
    return New-AWSCredential -AccessKey $id -SecretKey $secret -SessionToken $token
}

# The error code of AWS that a failure has brought along, if any. AWS Tools put the error of AWS inside another, and its
# message does not name the code.
function Get-Code($Exception) {
    $code = ''
    for ($inner = $Exception; $inner; $inner = $inner.InnerException) {
        if ($inner.Data.Contains('Code')) { $code = $inner.Data['Code'] }
        $own = Get-Field $inner 'ErrorCode'
        if ($own -is [string] -and $own) { $code = $own }
    }
    return $code
}

# What a failure means for trying again: Busy, Denied, Clock or Permanent.
function Get-Kind($Exception, [string] $Code) {
    $isOnTheWay = $false
    for ($inner = $Exception; $inner; $inner = $inner.InnerException) {
        $status = Get-Field $inner 'StatusCode'
        if ($status -and [int] $status -ge 500) { return 'Busy' }
        if ($inner.GetType().Name -in 'WebException', 'HttpRequestException', 'SocketException', 'TimeoutException', 'TaskCanceledException', 'OperationCanceledException', 'HttpErrorResponseException') { $isOnTheWay = $true }
    }
    if ($Code -in 'RequestExpired', 'RequestTimeTooSkewed', 'RequestInTheFuture') { return 'Clock' }
    if ($Code -in 'InvalidSignatureException', 'SignatureDoesNotMatch', 'AuthFailure' -and $Exception.Message -match 'Signature expired|Signature not yet current|time') { return 'Clock' }
    if ($Code -in 'NoCredentials', 'RoleNotAssumed', 'UnrecognizedClientException', 'InvalidClientTokenId', 'AuthFailure', 'AccessDenied', 'AccessDeniedException', 'UnauthorizedOperation') { return 'Denied' }
    if ($Code -match 'Throttl|RequestLimitExceeded|ProvisionedThroughputExceeded|TooManyRequests|TooManyUpdates|^Internal|^ServiceUnavailable|^RequestTimeout|^Timeout') { return 'Busy' }
    # An instance that was just launched is not known to every part of EC2 at once.
    if ($Code -eq 'InvalidInstanceID.NotFound') { return 'Busy' }
    if ($isOnTheWay -and -not $Code) { return 'Busy' }
    return 'Permanent'
}

# True in the first minutes after a boot.
function Test-Boot {
    try {
        $boot = (Get-CimInstance -ClassName Win32_OperatingSystem).LastBootUpTime
        return ([datetime]::UtcNow - $boot.ToUniversalTime()).TotalSeconds -lt $BootSeconds
    } catch { return $false }
}

# Calls AWS, and tries again what may pass until the time of the run is up. The block finds the credentials in $Credential.
# Kind: Done, or how the last try failed.
function Invoke-Aws([string] $What, $Call) {
    for ($try = 1; ; $try++) {
        try {
            $Credential = Get-ProfileCredential
            return [pscustomobject]@{ Kind = 'Done'; Answer = & $Call; Text = '' }
        } catch {
            $code = Get-Code $_.Exception
            $kind = Get-Kind $_.Exception $code
            $text = "${code}: $($_.Exception.Message)".TrimStart(':', ' ')
        }
        $isWorthIt = $kind -eq 'Busy' -or ($kind -eq 'Denied' -and (Test-Boot))
        if (-not $isWorthIt -or [datetime]::UtcNow -ge $Deadline) { return [pscustomobject]@{ Kind = $kind; Answer = $null; Text = $text } }
        Say "${What}: $text; trying again"
        Wait-Again $try
    }
}

# Ends a run whose call of AWS failed, unless the failure is the caller's to name.
function Assert-Answered($Result, [string] $What) {
    if ($Result.Kind -eq 'Busy') { Fail 15 "$What within $TimeoutSeconds seconds: $($Result.Text). Run this again" }
    if ($Result.Kind -eq 'Clock') { Fail 19 "AWS refuses the time of this machine: $($Result.Text). Set the clock (w32tm /resync), and run this again" }
}

# Runs a program with its standard input closed and the variables of the agent's service: no keys, certificates or proxies
# of whoever runs this. An agent that holds a registration asks, gets no answer, and leaves it.
function Invoke-Program([string] $File, [string] $Arguments, [int] $Seconds) {
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $File
    $start.Arguments = $Arguments
    $start.UseShellExecute = $false
    $start.EnvironmentVariables.Clear()
    foreach ($variable in (Get-ServiceEnvironment).GetEnumerator()) { $start.EnvironmentVariables[$variable.Key] = $variable.Value }
    $start.RedirectStandardInput = $start.RedirectStandardOutput = $start.RedirectStandardError = $true
    $process = [System.Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    $out = $process.StandardOutput.ReadToEndAsync()
    $err = $process.StandardError.ReadToEndAsync()
    $hasEnded = $process.WaitForExit([int](1000 * (Get-Limit $Seconds)))
    if (-not $hasEnded) { $process.Kill(); $process.WaitForExit() }
    # Whatever it has started may hold the pipes open.
    $said = if ($out.Wait(5000)) { $out.Result } else { '' }
    $complained = if ($err.Wait(5000)) { $err.Result } else { '' }
    return [pscustomobject]@{ IsSuccess = $hasEnded -and $process.ExitCode -eq 0; Out = $said; All = "$said`n$complained".Trim() }
}

# The variables of the agent's service: those of the machine, and over them those of the service itself.
function Get-ServiceEnvironment {
    $windows = [Environment]::GetFolderPath('Windows')
    $variables = @{}
    foreach ($variable in [Environment]::GetEnvironmentVariables('Machine').GetEnumerator()) { $variables[$variable.Key] = "$($variable.Value)" }
    # Windows gives these to every process; they are not among those of the machine.
    $variables['SystemRoot'] = $windows
    $variables['SystemDrive'] = [System.IO.Path]::GetPathRoot($windows).TrimEnd('\')
    $variables['ProgramData'] = $ProgramData
    $variables['ProgramFiles'] = $ProgramFiles
    $own = Get-Field (Get-ItemProperty -LiteralPath "HKLM:\SYSTEM\CurrentControlSet\Services\$Service") 'Environment'
    foreach ($line in @($own | Where-Object { $_ })) {
        $name, $value = $line -split '=', 2
        if ($name) { $variables[$name] = "$value" }
    }
    return $variables
}

# What the agent answers: Id and Region, of a node or of the EC2 instance; nothing where it answers neither.
function Get-AgentAnswer {
    if (-not (Test-Path -LiteralPath $Cli)) { return $null }
    try { $result = Invoke-Program $Cli 'get-instance-information' $CliSeconds } catch { return $null }
    # It may print lines of its log before or after the answer.
    if (-not $result.IsSuccess -or $result.Out -notmatch '\{[^{}]*"instance-id"[^{}]*\}') { return $null }
    $json = Read-Value $Matches[0]
    $id = Get-Text $json 'instance-id' "^$NodePattern\z|$InstancePattern"
    if (-not $id) { return $null }
    return [pscustomobject]@{ Id = $id; Region = "$(Get-Text $json 'region' $RegionPattern)" }
}

# What is on the disk: the first vault that is there counts. State: None, Node, Cleared or Unreadable.
function Get-Kept {
    foreach ($vault in $Vaults) {
        $text = Read-Text $vault
        if ($null -eq $text) { continue }
        $kept = [pscustomobject]@{ State = 'Cleared'; Id = ''; Region = '' }
        # The agent writes an empty ID before it calls Systems Manager. A full disk may cut that short.
        if ($text.Trim() -eq '' -or $text -cmatch '^\{"instanceID":"",') { return $kept }
        $record = Read-Value $text
        $id = Get-Text $record 'instanceID' "^($NodePattern)?\z"
        if ($null -eq $id) { $kept.State = 'Unreadable' }
        elseif ($id) { $kept.State = 'Node'; $kept.Id = $id; $kept.Region = "$(Get-Text $record 'region' $RegionPattern)" }
        return $kept
    }
    return [pscustomobject]@{ State = 'None'; Id = ''; Region = '' }
}

# The node that the agent noted for others, which outlives its registration; nothing where there is none.
function Get-NotedNode {
    foreach ($file in $Registrations) {
        $noted = Read-Value (Read-Text $file)
        $id = Get-Text $noted 'ManagedInstanceID' "^$NodePattern\z"
        if ($id) { return [pscustomobject]@{ State = 'Node'; Id = $id; Region = "$(Get-Text $noted 'Region' $RegionPattern)" } }
    }
    return $null
}

# What this machine is registered as. In doubt it counts as registered. State: None, Node or Unreadable.
function Get-Registration {
    $answer = Get-AgentAnswer
    $kept = Get-Kept
    $isNode = $answer -and $answer.Id -like 'mi-*'
    if ($isNode -and ($kept.State -ne 'Node' -or ($kept.Id -eq $answer.Id -and -not $kept.Region))) {
        # The agent knows the Region that its vault lacks.
        return [pscustomobject]@{ State = 'Node'; Id = $answer.Id; Region = $answer.Region }
    }
    if ($kept.State -eq 'Node') { return $kept }
    $none = [pscustomobject]@{ State = 'None'; Id = ''; Region = '' }
    if ($kept.State -eq 'Cleared' -or ($kept.State -eq 'None' -and $answer)) { return $none }
    $noted = Get-NotedNode
    if ($noted) { return $noted }
    if ($kept.State -eq 'Unreadable') { return $kept }
    return $none
}

# What Windows knows of the agent's service.
function Get-AgentService {
    return Get-CimInstance -ClassName Win32_Service -Filter "Name='$Service'"
}

# When the process of the agent's service started, in UTC, or nothing where that is not known.
function Get-AgentStart {
    try { return (Get-Process -Id (Get-AgentService).ProcessId).StartTime.ToUniversalTime() } catch { return $null }
}

# The end of a file of logs. One that cannot be read is no reason to fail.
function Read-Log([string] $Path) {
    try { return Get-Content -LiteralPath $Path -Tail 50000 } catch {
        Say "$Path cannot be read ($($_.Exception.Message)), so a refusal in it would not be seen"
        return @()
    }
}

# The end of a log, along with that of the file that it was last rotated into.
function Get-LogLines([string] $Path) {
    if (-not (Test-Path -LiteralPath $LogFolder)) { return @() }
    $rotated = Get-ChildItem -Path "$Path*" -File | Where-Object { $_.FullName -ne $Path -and $_.Name -notmatch '\.(gz|zip|7z)$' } | Sort-Object LastWriteTime | Select-Object -Last 1
    $earlier = if ($rotated) { Read-Log $rotated.FullName } else { @() }
    $present = if (Test-Path -LiteralPath $Path) { Read-Log $Path } else { @() }
    return @($earlier) + @($present)
}

# The entries of the agent that runs: those from before it started are about another process. The log has local times. A
# line without one goes on with the entry before it. A log without any is of another form, and whose its lines are cannot
# be told.
function Get-Entries([string] $Path, [datetime] $Since) {
    $entries = New-Object System.Collections.ArrayList
    $isOwn = $false
    $local = [System.Globalization.DateTimeStyles]::AssumeLocal -bor [System.Globalization.DateTimeStyles]::AdjustToUniversal
    $lines = @(Get-LogLines $Path)
    $begin = '^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)? (TRACE|DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL) '
    $hasForm = [bool] ($lines | Where-Object { $_ -cmatch $begin } | Select-Object -First 1)
    foreach ($line in $lines) {
        if (-not $hasForm) { [void] $entries.Add([pscustomobject]@{ First = $line; Whole = $line; Time = $null }) }
        elseif ($line -cmatch $begin) {
            $time = [datetime]::ParseExact($Matches[1], 'yyyy-MM-dd HH:mm:ss', [cultureinfo]::InvariantCulture, $local)
            $isOwn = $time -ge $Since.AddSeconds(-1)
            if ($isOwn) { [void] $entries.Add([pscustomobject]@{ First = $line; Whole = $line; Time = $time }) }
        } elseif ($isOwn) {
            $entries[$entries.Count - 1].Whole += ' ' + $line.Trim()
        }
    }
    return $entries
}

# How the agent that runs stands with Systems Manager, by the last entry of a log that says so: Silent, Starting,
# NotAsked, NotShared, Ready (with credentials that may be of before it started), Accepted, Refused, Clock, Unreachable or
# Doubtful. The agent speaks on the first line of an entry, and AWS on the others. Last is the time of the last entry.
function Get-Standing([string] $Path, [datetime] $Since) {
    $state = 'Silent'; $said = ''; $isShared = $true; $isAsking = $false; $isOfEc2 = $false; $last = $null; $isDoubtful = $false
    $clock = 'Signature expired|Signature not yet current|RequestExpired|RequestTimeTooSkewed|certificate has expired or is not yet valid'
    $denied = 'AccessDenied|InvalidInstanceId|UnrecognizedClient|InvalidSignature|InvalidClientTokenId|not authorized to perform|security token included in the request is invalid|is not registered'
    foreach ($entry in Get-Entries $Path $Since) {
        $first = $entry.First; $whole = $entry.Whole; $last = $entry.Time; $isDoubtful = -not $last
        # What plugins print is not the agent's own.
        if ($whole -cmatch '\[ssm-document-worker\]|\[ssm-session-worker\]|\[aws:|PluginName') { continue }
        $isIdentity = $first -match '\[CredentialRefresher\]|\[OnPremCredsProvider\]|\[OnPremIdentity\]|\[SharedCredentialsProvider\]|\[TokenRequestService\]|\[HealthCheck\]|\[Hibernat|\[Messag|Retrieve credentials produced|failed to refresh credentials|returned from AWS API|RequestManagedInstanceRoleToken|UpdateInstanceInformation'
        if ($first -cmatch 'Credentials exist and have not expired') { $state = 'NotAsked' }
        elseif ($first -cmatch 'Credentials ready') { if ($state -ne 'Accepted') { $state = if (-not $isShared) { 'NotShared' } elseif ($isAsking) { 'Accepted' } else { 'Ready' } } }
        elseif ($first -cmatch 'Starting Core Agent|Successfully registered the instance') { $state = 'Starting'; $isShared = $true; $isAsking = $false; $isOfEc2 = $false }
        # The credentials of before a refusal are good for a while.
        elseif ($first -cmatch 'Set up control channel successfully|Successfully opened websocket connection to') { if ($state -notin 'Refused', 'Clock') { $state = 'Accepted' } }
        elseif ($first -cmatch 'Identity does not want core agent to rotate credentials') { $isShared = $false }
        # Only just after it called itself ready it says that it had not asked.
        elseif ($first -cmatch 'Starting credentials refresher loop') { $isAsking = $true; if ($state -eq 'Ready') { $state = 'NotAsked' } }
        # Before it is registered, an agent asks for credentials of the EC2 instance, and is refused in many accounts.
        elseif ($whole -cmatch 'EC2Identity|EC2RoleProvider|ec2 identity|Default Host Management|IIRRoleProvider') { $isOfEc2 = $true }
        elseif ($first -cmatch 'MachineFingerprintDoesNotMatch' -or ($first -cmatch 'Cannot connect to AWS Systems Manager' -and $whole -cmatch 'has changed from the registered value|has changed more than the allowed threshold')) { $state = 'Refused'; $said = $whole }
        elseif ($isIdentity -and $whole -cmatch $clock) { $state = 'Clock'; $said = $whole }
        elseif ($isIdentity -and ($whole -cmatch 'MachineFingerprintDoesNotMatch' -or ($whole -cmatch $denied -and $whole -cnotmatch 'assumed-role/.*/mi-'))) { $state = 'Refused'; $said = $whole }
        elseif ($first -cmatch 'Retrieve credentials produced|failed to refresh credentials') { $state = 'Unreachable'; $said = $whole; $isOfEc2 = $false }
        elseif ($first -cmatch 'returned from AWS API|before retrying retrieve credentials' -and $state -notin 'Refused', 'Clock', 'Unreachable' -and -not $isOfEc2) { $state = 'Unreachable'; $said = $whole }
    }
    if ($state -notin 'Refused', 'Clock', 'Unreachable') { $said = '' }
    if ($isDoubtful) { $state = if ($state -in 'Refused', 'Clock', 'Unreachable') { 'Doubtful' } else { 'Silent' } }
    if ($said.Length -gt 300) { $said = $said.Substring(0, 300) }
    return [pscustomobject]@{ State = $state; Line = $said; Last = $last }
}

# What the agent noted about its credentials, as Fresh (got since it started, and still good), Old (from before), Overdue
# (it should have renewed them by now), Expired, or Unknown.
function Get-Credentials($Noted, $Start, [string] $State) {
    $retrieved = Get-Time $Noted 'CredentialsRetrievedAt'
    $expires = Get-Time $Noted 'CredentialsExpiresAt'
    if (-not $retrieved -or -not $expires -or $State -eq 'NotShared') { return 'Unknown' }
    $now = [datetime]::UtcNow
    if ($expires -le $now) { return 'Expired' }
    # The agent renews them when half of their time is over.
    if (($now - $retrieved).TotalSeconds -ge ($expires - $retrieved).TotalSeconds * 0.5 + 120) { return 'Overdue' }
    if (-not $Start) { return 'Unknown' }
    if ($retrieved -gt $Start) { return 'Fresh' }
    return 'Old'
}

# What the running agent shows: Is is InUse, Unproven, Settling, NotYet, Refused or Clock; Why is for whoever reads it.
#
# It has to say that it is this node in this Region, it has to have been started as that, and Systems Manager has to have
# accepted it since it started. If nothing shows that after a while, and nothing speaks against it, it is unproven.
function Get-Verdict([string] $Node, [string] $HubRegion) {
    $verdict = [pscustomobject]@{ Is = 'NotYet'; Why = '' }
    $status = "$((Get-Service -Name $Service).Status)"
    $start = if ($status -eq 'Running') { Get-AgentStart } else { $null }
    $age = ([datetime]::UtcNow - $(if ($start) { $start } else { $Began })).TotalSeconds
    # If nothing tells when it started, it may have been just now.
    $since = if ($start) { $start } elseif ($age -lt $SettleSeconds) { $Began } else { [datetime]::MinValue.AddDays(1) }
    try { $noted = Read-Value (Read-Text $Runtime) } catch { $noted = $null }
    $standing = Get-Standing $Logs $since
    # An agent that logs nothing but errors does not log that it got credentials after them. A time that is yet to come is of
    # a clock that was off.
    $retrieved = Get-Time $noted 'CredentialsRetrievedAt'
    if ($standing.State -in 'Refused', 'Clock', 'Unreachable' -and $retrieved -and $retrieved -le [datetime]::UtcNow -and $standing.Last -lt $retrieved) { $standing.State = 'Silent' }
    $doubt = if ($standing.State -eq 'Doubtful') { $standing.Line } elseif ($standing.State -eq 'Silent') { (Get-Standing $ErrorLog $since).Line } else { '' }
    if ($standing.State -in 'Refused', 'Clock') {
        $verdict.Is = $standing.State
        $verdict.Why = $standing.Line
        return $verdict
    }
    $answer = Get-AgentAnswer
    # If the vault holds another node than the agent was started as, ssm-cli answers with that of the vault.
    $runningAs = Get-Text $noted 'InstanceId' '.'
    $credentials = Get-Credentials $noted $start $standing.State
    $isOfBefore = $start -and $retrieved -and $retrieved -lt $start -and $standing.State -ne 'NotShared'
    $isAccepted = $standing.State -eq 'Accepted' -or ($standing.State -eq 'Ready' -and -not $isOfBefore) -or ($credentials -eq 'Fresh' -and $standing.State -in 'Silent', 'Starting', 'NotAsked')
    $why = ''
    if (-not $answer) { $why = 'ssm-cli does not say which node it is' }
    elseif ($answer.Id -notlike 'mi-*') { $why = 'it answers that it is an EC2 instance, and not a node' }
    elseif ($answer.Id -ne $Node) { $why = "it answers that it is $($answer.Id)" }
    elseif (-not $runningAs -and (Test-Path -LiteralPath $Runtime)) { $why = "$Runtime does not say as which node it was started" }
    elseif ($runningAs -and $runningAs -ne $Node) { $why = "it was started as $runningAs, and not again since" }
    elseif (-not $answer.Region) { $why = 'it does not say in which Region it is' }
    elseif ($HubRegion -and $answer.Region -ne $HubRegion) { $why = "it is in $($answer.Region), and not in $HubRegion" }
    elseif ($status -ne 'Running') { $why = "its service is $status" }
    elseif ($standing.State -eq 'Unreachable') { $why = "it does not reach Systems Manager; its log says: $($standing.Line)" }
    elseif ($credentials -ne 'Expired' -and $isAccepted) { $verdict.Is = 'InUse' }
    elseif ($age -lt $SettleSeconds) { $verdict.Is = 'Settling'; $why = 'it has just started' }
    elseif ($doubt) { $why = "nothing shows that Systems Manager accepts it, and its log says: $doubt" }
    elseif ($credentials -eq 'Expired') { $why = 'it has no credentials of Systems Manager that are still good' }
    elseif ($standing.State -in 'NotAsked', 'Ready' -or $credentials -eq 'Old') { $why = 'its credentials are of before it started, and it did not ask Systems Manager since' }
    else { $verdict.Is = 'Unproven' }
    $verdict.Why = $why
    return $verdict
}

# Waits until the running agent is this node.
function Confirm-InUse([string] $Node, [string] $HubRegion) {
    for ($try = 1; ; $try++) {
        $verdict = Get-Verdict $Node $HubRegion
        $isLate = $DryRun -or [datetime]::UtcNow -ge $Deadline
        if ($verdict.Is -eq 'InUse') { return }
        if ($verdict.Is -eq 'Unproven' -or ($DryRun -and $verdict.Is -eq 'Settling')) {
            Say "the agent says that it is $Node, but nothing here proves that Systems Manager accepts it: look in the central account whether it is Online"
            return
        }
        if ($verdict.Is -eq 'Clock') {
            Fail 19 "registered as $Node, but the time of this machine is refused. Set the clock (w32tm /resync), and run this again. The agent's log says: $($verdict.Why)"
        }
        if ($verdict.Is -eq 'Refused') {
            Fail 17 "registered as $Node, but Systems Manager refuses the agent: the machine was resized, restored or copied, or the node was deregistered. The tag was not written. The agent's log says: $($verdict.Why)"
        }
        if ($isLate) {
            Fail 17 "registered as $Node, but the running agent does not use that: $($verdict.Why). The tag was not written. Restart the service $Service and run this again$(Get-Route)"
        }
        if ($try -eq 1) { Say "$($verdict.Why); asking again" }
        Wait-Again ([math]::Min($try, 3))
    }
}

# The text of a parameter. Whoever may not read it is told why.
function Get-ParameterText($Identity, [string] $Name) {
    $result = Invoke-Aws "parameter $Name" {
        (Get-SSMParameter -Name $Name -WithDecryption $true -Region $Identity.Region -Credential $Credential).Value
    }
    if ($result.Kind -eq 'Done') { return "$($result.Answer)" }
    Assert-Answered $result "cannot read parameter $Name"
    Fail 6 "cannot read parameter $Name in account $($Identity.Account), $($Identity.Region): $($result.Text)"
}

# The activation, without a look at whom it is for. That of a pair says nothing about accounts and expiry.
function Read-Activation($Identity) {
    if ($IsPair) {
        $where = "parameters $ActivationIdParameter and $ActivationCodeParameter"
        $code = (Get-ParameterText $Identity $ActivationCodeParameter).Trim()
        $id = (Get-ParameterText $Identity $ActivationIdParameter).Trim()
        $hub = if ($Region) { $Region } else { $Identity.Region }
        $json = [pscustomobject]@{ ActivationId = $id; ActivationCode = $code; Region = $hub }
    } else {
        $where = "parameter $Parameter"
        $json = Read-Value (Get-ParameterText $Identity $Parameter)
        if (-not (Get-Text $json 'Account' $AccountPattern)) { Fail 6 "there is no activation in ${where}: Account is missing, or is no account" }
        if (-not (Get-Time $json 'ExpirationDate')) { Fail 6 "there is no activation in ${where}: ExpirationDate is missing, or is no time" }
        $hubOf = Get-Field $json 'HubAccount'
        if ($hubOf -and -not (Get-Text $json 'HubAccount' $AccountPattern)) { Fail 6 "there is no activation in ${where}: HubAccount is no account" }
    }
    if (-not (Get-Text $json 'ActivationId' '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\z')) { Fail 6 "there is no activation in ${where}: ActivationId is missing, or is no UUID in lower case" }
    if (-not (Get-Text $json 'ActivationCode' '^[\x21\x23-\x5b\x5d-\x7e]{20,250}\z')) { Fail 6 "there is no activation in ${where}: ActivationCode is missing, too short, or has characters that it cannot have" }
    if (-not (Get-Text $json 'Region' $RegionPattern)) { Fail 6 "there is no activation in ${where}: Region is missing, or is no Region" }
    return [pscustomobject]@{
        Id = $json.ActivationId; Code = $json.ActivationCode; Region = $json.Region; Where = $where
        Account = "$(Get-Field $json 'Account')"; HubAccount = "$(Get-Field $json 'HubAccount')"; Expires = Get-Time $json 'ExpirationDate'
    }
}

# Ends the run if the activation is of another hub, or of another account.
function Assert-Hub($Identity, $Activation) {
    if ($HubAccount -and -not $Activation.HubAccount) { Fail 9 "$($Activation.Where) does not say in which account it registers, and -HubAccount asks for $HubAccount" }
    if ($HubAccount -and $Activation.HubAccount -ne $HubAccount) {
        Fail 9 "the activation in $($Activation.Where) registers in account $($Activation.HubAccount), and -HubAccount asks for $HubAccount. Nothing was changed"
    }
    if ($Activation.Account -and $Activation.Account -ne $Identity.Account) {
        Fail 9 "the activation in $($Activation.Where) is made for account $($Activation.Account), and this instance is in $($Identity.Account). Nothing was changed"
    }
}

# The activation, if this instance may use it now.
function Get-Activation($Identity) {
    $activation = Read-Activation $Identity
    if ($Region -and $activation.Region -ne $Region) {
        Fail 9 "the activation in $($activation.Where) is for Region $($activation.Region), and -Region asks for $Region. Nothing was changed"
    }
    Assert-Hub $Identity $activation
    if ($activation.Expires -and $activation.Expires -le [datetime]::UtcNow) {
        Fail 7 "the activation in $($activation.Where) expired. Have central IT invoke activation-issuer for $($Identity.Account), and run this again"
    }
    return $activation
}

# The hub that a registered machine is to be a node of: by the parameters of this run, by the activation if that is for
# this account, and otherwise by the note of the registration.
function Get-Hub($Identity, $Registration, $Noted) {
    $known = if ($Region) { $Region } elseif ($IsPair) { $Identity.Region } else { '' }
    if ($known -and -not $HubAccount) { return [pscustomobject]@{ Region = $known; Account = '' } }
    $isOther = $false
    try {
        $activation = Read-Activation $Identity
        $isOther = $HubAccount -and $activation.HubAccount -and $activation.HubAccount -ne $HubAccount
        Assert-Hub $Identity $activation
        return [pscustomobject]@{ Region = $(if ($known) { $known } else { $activation.Region }); Account = $activation.HubAccount }
    } catch {
        $code = Get-ExitCode $_.Exception
        $problem = $_.Exception.Message
        # No note makes that good.
        if ($isOther -or $code -in 15, 19) { throw $_.Exception }
    }
    if (-not $known) { $known = "$(Get-Text $Noted 'hubRegion' $RegionPattern)" }
    $account = "$(Get-Text $Noted 'hubAccount' $AccountPattern)"
    if ($known -and (-not $HubAccount -or $account -eq $HubAccount)) { return [pscustomobject]@{ Region = $known; Account = $account } }
    Fail $code "this machine is registered as $($Registration.Id) in $($Registration.Region), and nothing says whether that is the hub's: $problem. The tag was not written. If it is, $(if ($HubAccount) { 'leave -HubAccount out, and ' })name the hub's Region with -Region"
}

# Which proxy the agent goes through, for a message, without the password in it.
function Get-Route {
    $proxy = "$((Get-ServiceEnvironment)['HTTPS_PROXY'])"
    if (-not $proxy) { return '' }
    return " (through the proxy $($proxy -replace '//[^/@]*@', '//'), as in the environment of the service)"
}

# Sees to it that Windows starts the agent, or says that it will not.
function Enable-Agent {
    $mode = "$((Get-AgentService).StartMode)"
    if ($mode -eq 'Auto') { return }
    try {
        Set-Service -Name $Service -StartupType Automatic
        Say "the service $Service was $mode; Windows starts it from now on"
    } catch {
        Say "the service $Service is $mode and could not be changed: the agent will be gone after a reboot. Run Set-Service $Service -StartupType Automatic"
    }
}

function Stop-Agent {
    Stop-Service -Name $Service -Force -NoWait
    (Get-Service -Name $Service).WaitForStatus('Stopped', [timespan]::FromSeconds((Get-Limit $ControlSeconds)))
}

# Starts the agent. Returns why it does not run, or nothing.
function Start-Agent {
    $problem = ''
    for ($try = 1; $try -le 3; $try++) {
        try {
            $controller = Get-Service -Name $Service
            if ($controller.Status -notin 'Running', 'StartPending') { $controller.Start() }
            $controller.WaitForStatus('Running', [timespan]::FromSeconds((Get-Limit $ControlSeconds)))
            # If it stays, the next run starts an agent that runs, which does no harm.
            Remove-Item -LiteralPath $StoppedFile -ErrorAction SilentlyContinue
            return $null
        } catch { $problem = $_.Exception.Message }
        Start-Sleep -Seconds 2
    }
    return "the agent could not be started ($problem). Start the service $Service"
}

# The exit code of a refusal: 15 for what passes, and 0 for words that nobody knows, which may pass as well.
function Get-Refusal([string] $Text) {
    switch -Regex -CaseSensitive ($Text) {
        'ActivationExpired' { return 7 }
        'RegistrationLimitExceeded' { return 8 }
        'InvalidActivation' { return 9 }
        'Instance already registered|InstanceAlreadyRegistered' { return 10 }
        'Unable to save registration information|error persisting the instance registration information' { return 10 }
        'flag provided but not defined|InvalidPublicKey|ValidationException' { return 10 }
        'UnsupportedPlatformType|AccessDenied|UnrecognizedClient|InvalidClientTokenId|OptInRequired' { return 10 }
        'certificate has expired or is not yet valid' { return 19 }
        # Any other certificate that the agent does not take, as that of a proxy that looks into what it passes on.
        'x509: ' { return 10 }
        'TooManyUpdates|InternalServerError|ServiceUnavailable|Throttl|RequestLimitExceeded|status code: 5' { return 15 }
        'RequestError: send request failed|Proxy Authentication Required|proxyconnect|no such host|i/o timeout' { return 15 }
        'connection refused|connection reset|network is unreachable|TLS handshake timeout' { return 15 }
    }
    return 0
}

# Registers while the agent is stopped. Node, or why there is none: Refusal and Text, without the code.
function Invoke-Registration($Activation) {
    $outcome = [pscustomobject]@{ Node = ''; Refusal = 10; Text = ''; Unstarted = '' }
    $arguments = "-register -code `"$($Activation.Code)`" -id $($Activation.Id) -region $($Activation.Region)"
    try { $result = Invoke-Program $Agent $arguments $RegisterSeconds } catch {
        $outcome.Text = "cannot run ${Agent}: $($_.Exception.Message)"
        return $outcome
    }
    $outcome.Text = $result.All.Replace($Activation.Code, '***')
    if (-not $result.IsSuccess) {
        $outcome.Refusal = Get-Refusal $outcome.Text
        return $outcome
    }
    $named = @()
    foreach ($line in $outcome.Text -split '\n') {
        # The last such line counts.
        if ($line -cmatch "Successfully registered.*?($NodePattern)") { $named = @($Matches[1]) }
    }
    $named += (Get-Kept).Id
    $named += "$(Get-Field (Get-NotedNode) 'Id')"
    $named = @($named | Where-Object { $_ } | Select-Object -Unique)
    if ($named.Count -eq 1) { $outcome.Node = $named[0]; return $outcome }
    $outcome.Refusal = 0
    $outcome.Text = "the agent reports success, but names $($named.Count) nodes: $named. It said: $($outcome.Text)"
    return $outcome
}

# Stops the agent, registers it, and starts it in every case, whatever happens in between.
function Register-Node($Activation) {
    [System.IO.File]::WriteAllText($StoppedFile, '')
    $unstarted = ''
    try {
        try { Stop-Agent } catch { Fail 11 "the agent could not be stopped ($($_.Exception.Message)), so its registration was not touched" }
        $outcome = Invoke-Registration $Activation
        # Somebody else may have started it meanwhile, such as an upgrade of its package: with what was there before.
        if ((Get-Service -Name $Service).Status -eq 'Running') {
            Say 'the agent was started by somebody else meanwhile; starting it again'
            try { Stop-Agent } catch { Say $_.Exception.Message }
        }
    } finally {
        $unstarted = "$(Start-Agent)"
    }
    $outcome.Unstarted = $unstarted
    return $outcome
}

# Tries until it is registered, another try is of no use, or the time is up. The last outcome, along with the activation.
function Register-Patiently($Identity, $Activation) {
    $isReadAgain = $false
    for ($try = 1; ; $try++) {
        Say 'stopping the agent, registering it, and starting it again'
        $outcome = Register-Node $Activation
        if ($outcome.Node) { return [pscustomobject]@{ Node = $outcome.Node; Activation = $Activation; Unstarted = $outcome.Unstarted } }
        $problem = "the agent did not register: $($outcome.Text)"
        if ($outcome.Unstarted) { Fail 11 "$problem; and $($outcome.Unstarted)" }
        $refusal = $outcome.Refusal
        if ($refusal -in 7, 8, 9 -and -not $isReadAgain) {
            $isReadAgain = $true
            # The hub may have renewed it in the meantime. If it cannot be read, the first failure is the one to know.
            try { $renewed = Get-Activation $Identity } catch { $renewed = $null }
            if ($renewed -and ($renewed.Code -cne $Activation.Code -or $renewed.Id -ne $Activation.Id -or $renewed.Region -ne $Activation.Region)) {
                $Activation = $renewed
                continue
            }
        }
        if ($refusal -notin 0, 15) { Fail $refusal $problem }
        if ([datetime]::UtcNow -ge $Deadline) {
            $code = if ($refusal -eq 15) { 15 } else { 10 }
            Fail $code "not registered within $TimeoutSeconds seconds, after $try tries: $($outcome.Text)$(Get-Route)"
        }
        Wait-Again $try
        # A try that got no answer may have reached its end all the same.
        $kept = Get-Registration
        if ($kept.State -eq 'Node' -and $kept.Region -eq $Activation.Region) {
            return [pscustomobject]@{ Node = $kept.Id; Activation = $Activation; Unstarted = '' }
        }
    }
}

# Makes the folder for the lock and the note. Everybody may make folders in ProgramData, so one that is a link, or of
# somebody who is no administrator, is refused, and nobody else may write to ours.
function Protect-Folder {
    $isNew = -not (Test-Path -LiteralPath $Folder)
    if ($isNew) { New-Item -ItemType Directory -Path $Folder | Out-Null }
    $item = Get-Item -LiteralPath $Folder -Force
    if (-not $item.PSIsContainer -or $item.Attributes -band [System.IO.FileAttributes]::ReparsePoint) {
        Fail 1 "$Folder is not a folder, or is a link. Remove it, and run this again"
    }
    $owner = (Get-Acl -LiteralPath $Folder).GetOwner([System.Security.Principal.SecurityIdentifier]).Value
    if (-not $isNew -and $owner -notin $Owners) {
        Fail 1 "$Folder belongs to $owner, who is no administrator. Look at what is in it, remove it, and run this again"
    }
    $acl = New-Object System.Security.AccessControl.DirectorySecurity
    $acl.SetOwner((New-Object System.Security.Principal.SecurityIdentifier $Owners[0]))
    $acl.SetAccessRuleProtection($true, $false)
    foreach ($sid in $Owners) {
        $who = New-Object System.Security.Principal.SecurityIdentifier $sid
        $acl.AddAccessRule((New-Object System.Security.AccessControl.FileSystemAccessRule($who, 'FullControl', 'ContainerInherit, ObjectInherit', 'None', 'Allow')))
    }
    Set-Acl -LiteralPath $Folder -AclObject $acl
    # Between the two, others could have put something in.
    if ($isNew -and (Get-ChildItem -LiteralPath $Folder -Force)) {
        Fail 1 "something was put into $Folder while it was made. Remove it, and run this again"
    }
}

# Two runs at once would stop the agent under each other. The system closes the file when this ends, however it ends.
function Enter-Lock {
    try { return [System.IO.File]::Open($LockFile, 'OpenOrCreate', 'ReadWrite', 'None') } catch {
        for ($inner = $_.Exception; $inner; $inner = $inner.InnerException) {
            # What Windows says of a file that another has open (0x80070020).
            if ($inner.HResult -eq -2147024864) {
                Fail 14 "another run is at work on this machine. If it never ends, end the process that holds ${LockFile}: it, or the agent that it called"
            }
        }
        Fail 1 "cannot take the lock ${LockFile}: $($_.Exception.Message)"
    }
}

# Writes down which instance was registered as which node. Returns why that was not possible, or nothing.
function Write-Marker($Identity, [string] $Node, [string] $HubRegion, [string] $HubOf) {
    $note = @{
        managedInstanceId = $Node; ec2InstanceId = $Identity.Instance; account = $Identity.Account
        region = $Identity.Region; hubRegion = $HubRegion; registeredAt = [datetime]::UtcNow.ToString('yyyy-MM-ddTHH:mm:ssZ')
    }
    if ($HubOf) { $note['hubAccount'] = $HubOf }
    $text = $note | ConvertTo-Json
    try {
        # Beside it and then in its place, so that nobody ever reads half of it.
        [System.IO.File]::WriteAllText("$Marker.new", $text)
        Move-Item -LiteralPath "$Marker.new" -Destination $Marker -Force
        return $null
    } catch { return "registered as $Node, but cannot write ${Marker}: $($_.Exception.Message)" }
}

function Write-Tag($Identity, [string] $Node) {
    $result = Invoke-Aws 'the tag managedinstanceid' {
        New-EC2Tag -Resource $Identity.Instance -Tag @{ Key = 'managedinstanceid'; Value = $Node } -Region $Identity.Region -Credential $Credential
    }
    if ($result.Kind -eq 'Done') { return }
    Assert-Answered $result "registered as $Node, but the tag managedinstanceid could not be written"
    $advice = 'Run this again'
    if ($result.Text -match 'TagLimitExceeded') { $advice = 'The instance has 50 tags, which is all that EC2 allows: remove one; then run this again' }
    elseif ($result.Kind -eq 'Denied') { $advice = 'The instance profile needs ec2:CreateTags on this instance for that key, and no other policy may deny it; then run this again' }
    Fail 13 "registered as $Node, but the tag managedinstanceid could not be written: $($result.Text). $advice"
}

# A machine that is registered, as far as its disk tells.
function Confirm-Registration($Identity, $Registration) {
    $node = $Registration.Id
    $mark = Read-Value (Read-Text $Marker)
    $original = Get-Text $mark 'ec2InstanceId' $InstancePattern
    # A note about another node is older than this registration and says nothing about it.
    $isMarked = $original -and (Get-Field $mark 'managedInstanceId') -eq $node
    if ($isMarked -and $original -ne $Identity.Instance) {
        Fail 12 ("this machine carries the registration of another: $node belongs to $original, and this is $($Identity.Instance). Nothing was changed. " +
            "Clear what the image carried and run this again: Stop-Service $Service; & '$Agent' -register -clear; " +
            "Remove-Item '$($Registrations -join "', '")', '$Marker' -ErrorAction SilentlyContinue; Start-Service $Service")
    }
    $noted = if ($isMarked) { $mark } else { $null }
    $hub = Get-Hub $Identity $Registration $noted
    $registeredWith = "$(Get-Text $noted 'hubAccount' $AccountPattern)"
    if (($Registration.Region -and $Registration.Region -ne $hub.Region) -or ($registeredWith -and $hub.Account -and $registeredWith -ne $hub.Account)) {
        Fail 18 "this machine is registered as $node in $($Registration.Region), and the hub is in $($hub.Region) of account $($hub.Account). Nothing was changed"
    }
    if ($DryRun) {
        Confirm-InUse $node $hub.Region
        Say "registered as $node; would write the tag"
        return
    }
    if ((Get-Service -Name $Service).Status -ne 'Running') {
        Say "registered as $node, but the agent does not run; starting it"
        $unstarted = Start-Agent
        if ($unstarted) { Fail 11 $unstarted }
    }
    Confirm-InUse $node $hub.Region
    Enable-Agent
    if ($HubAccount -and -not $registeredWith) { Say "$node was registered by other means, so nothing here says that it is in account $HubAccount" }
    # Nothing here says in which account a node is that was registered by other means.
    $unwritten = if ($isMarked) { $null } else { Write-Marker $Identity $node $hub.Region '' }
    Write-Tag $Identity $node
    if ($unwritten) { Fail 1 $unwritten }
    Say "$($Identity.Instance) was registered as $node before; its tag is written"
}

function Invoke-Run {
    if (-not (Test-Path -LiteralPath $Agent)) { Fail 5 "the agent is not installed: there is no $Agent" }
    $known = Get-AgentService
    if (-not $known) { Fail 5 "the agent is not installed: there is no service $Service" }
    # An agent that could not be started again is not stopped.
    if ($known.StartMode -eq 'Disabled') { Fail 5 "the service $Service is disabled, so the agent could not be started. Run Set-Service $Service -StartupType Automatic, and run this again" }
    foreach ($cmdlet in 'New-AWSCredential', 'Get-SSMParameter', 'New-EC2Tag') {
        if (-not (Get-Command $cmdlet -ErrorAction SilentlyContinue)) { Fail 5 "AWS Tools for PowerShell are not installed: there is no $cmdlet" }
    }
    if (-not $DryRun -and (Test-Path -LiteralPath $StoppedFile)) {
        Say 'an earlier run was ended while the agent was stopped; starting the agent'
        $unstarted = Start-Agent
        if ($unstarted) { Fail 11 $unstarted }
    }

    $identity = Get-Identity
    Say "this is $($identity.Instance) in account $($identity.Account), $($identity.Region)"
    $registration = Get-Registration
    if ($registration.State -eq 'Unreadable') {
        Fail 17 'the vault of the agent cannot be read, so this machine may be registered. Nothing was changed. Clear it by hand'
    }
    if ($registration.State -eq 'Node') { Confirm-Registration $identity $registration; return }

    $activation = Get-Activation $identity
    if ($DryRun) { Say "would stop the agent, register it with activation $($activation.Id) in $($activation.Region), start it, ask it, and write the tag"; return }
    $registered = Register-Patiently $identity $activation
    $node = $registered.Node
    Say "registered as $node; asking the agent"
    $unwritten = Write-Marker $identity $node $registered.Activation.Region $registered.Activation.HubAccount
    # Without its agent the node is of no use, whatever its tag.
    if ($registered.Unstarted) { Fail 11 "registered as $node, but $($registered.Unstarted)" }
    Enable-Agent
    Confirm-InUse $node $registered.Activation.Region
    Write-Tag $identity $node
    if ($unwritten) { Fail 1 $unwritten }
    Say "$($identity.Instance) is now registered as $node, and tagged"
}

$lock = $null
$exitCode = 0
try {
    $principal = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
    if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) { Fail 3 'run this as administrator' }
    # A dry run changes nothing, and so needs none of this.
    if (-not $DryRun) {
        Protect-Folder
        $lock = Enter-Lock
    }
    Invoke-Run
} catch {
    $exitCode = Get-ExitCode $_.Exception
    [Console]::Error.WriteLine("register-instance: $($_.Exception.Message)")
} finally {
    if ($lock) { $lock.Dispose() }
}
exit $exitCode
